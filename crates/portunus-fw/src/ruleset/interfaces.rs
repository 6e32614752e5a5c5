//! The interfaces of this network namespace, from /proc: no socket, no privilege.

use std::fs;

use crate::walk::Interface;

/// Every interface but the loopback. An index is known where the interface has an address or a group.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    // The thread's own view: another thread may live in another namespace.
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let (igmp, inet6) = (read("igmp"), read("if_inet6"));
    names(&read("dev")).map(|name| Interface { index: index(&igmp, &inet6, &name), name }).collect()
}

/// Two lines of heading, then `name: numbers`.
fn names(dev: &str) -> impl Iterator<Item = String> {
    let named = dev.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    named.filter(|name| name != "lo").collect::<Vec<_>>().into_iter()
}

/// `2<tab>eth0   :  1 V3` in igmp; `address index(hex) length scope flags name` in if_inet6.
fn index(igmp: &str, inet6: &str, name: &str) -> Option<u32> {
    let four = igmp.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let index = words.next()?.parse().ok()?;
        (words.next()?.trim_end_matches(':') == name).then_some(index)
    });
    four.or_else(|| {
        inet6.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[_, index, _, _, _, this] = words.as_slice() else { return None };
            u32::from_str_radix(index, 16).ok().filter(|_| this == name)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_proc_says() {
        let dev = "Inter-| Receive\n face |bytes\n    lo:  1 2\n  eth0: 3 4\n";
        assert_eq!(names(dev).collect::<Vec<_>>(), ["eth0"]);
        let igmp = "Idx\tDevice\n1\tlo        :     1      V3\n\t\t\t010000E0     1 0\n7\teth0      :     1      V3\n";
        assert_eq!(index(igmp, "", "eth0"), Some(7));
        let inet6 = "fe800000000000000000000000000001 0a 40 20 80     eth1\n";
        assert_eq!(index(igmp, inet6, "eth1"), Some(10));
        assert_eq!(index(igmp, inet6, "eth2"), None);
    }
}
