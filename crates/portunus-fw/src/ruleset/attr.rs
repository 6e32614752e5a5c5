//! Netlink attributes, read: type, length, value, padded to four.

/// The attributes in `bytes`, in order. What is cut short ends the walk: the kernel does not send it, and nothing
/// here may panic over it.
pub(super) fn attrs(bytes: &[u8]) -> Attrs<'_> {
    Attrs { rest: bytes }
}

/// See [`attrs`].
#[derive(Clone)]
pub(super) struct Attrs<'a> {
    rest: &'a [u8],
}

/// One attribute.
#[derive(Clone, Copy)]
pub(super) struct Attr<'a> {
    /// Its type, without the nested and byte-order flags.
    pub(super) kind: u16,
    /// Its value.
    pub(super) value: &'a [u8],
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        // struct nlattr: length with its own four bytes, then the type with two flag bits on top.
        let (head, _) = self.rest.split_at_checked(4)?;
        let len = usize::from(u16::from_ne_bytes([*head.first()?, *head.get(1)?]));
        let kind = u16::from_ne_bytes([*head.get(2)?, *head.get(3)?]) & 0x3fff;
        let value = self.rest.get(4..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attr { kind, value })
    }
}

impl<'a> Attrs<'a> {
    /// The value of the first attribute of this type.
    pub(super) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|attr| attr.kind == kind).map(|attr| attr.value)
    }

    /// The attributes nested in the first one of this type; none when it is not there.
    pub(super) fn nested(&self, kind: u16) -> Attrs<'a> {
        attrs(self.get(kind).unwrap_or(&[]))
    }

    /// A 32-bit number in network order, as nf_tables has them all.
    pub(super) fn be32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A 64-bit number in network order.
    pub(super) fn be64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A text, without its final zero.
    pub(super) fn text(&self, kind: u16) -> Option<String> {
        Some(text(self.get(kind)?))
    }
}

/// A text without its final zeros; the kernel takes any bytes as names, so it may have to be mended.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_whole_and_stops_at_what_is_not() {
        let bytes = [6, 0, 1, 0, b'a', 0, 0, 0, 8, 0, 2, 0x80, 0, 0, 1, 2, 9, 0, 3, 0, 1];
        let all = attrs(&bytes);
        assert_eq!(all.text(1).as_deref(), Some("a"));
        assert_eq!(all.be32(2), Some(258));
        assert_eq!(all.clone().count(), 2);
        assert!(all.get(3).is_none());
    }

    #[test]
    fn a_length_of_nothing_ends_it() {
        assert_eq!(attrs(&[0, 0, 1, 0, 0, 0, 1, 0]).count(), 0);
        assert_eq!(attrs(&[3, 0, 1, 0]).count(), 0);
    }
}
