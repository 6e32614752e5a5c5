//! A profile as a QR code: text blocks for a terminal, PNG or SVG for a file (0600: it holds the private key).

use std::fmt::Write as _;
use std::path::Path;

use fast_qr::{ECL, QRBuilder, QRCode};
use portunus_config::profile::{Profile, qr};
use portunus_sys::files;
use zeroize::Zeroizing;

use crate::edit::PRIVATE;
use crate::say::Failure;

/// The light border that readers need, in modules (ISO/IEC 18004 section 6.3.8).
const BORDER: usize = 4;
/// The side of a module in a PNG, in pixels.
const SCALE: usize = 8;

/// The picture of a profile: as openme's apps read it, or of the native dialect as `join` does.
///
/// # Errors
/// The profile is too long for any QR code.
pub(crate) fn of(profile: &Profile) -> Result<Picture, Failure> {
    Picture::new(&qr::render(profile))
}

/// A QR code.
pub(crate) struct Picture {
    code: QRCode,
}

impl Picture {
    /// The picture of `payload`.
    ///
    /// # Errors
    /// The payload is too long for any QR code.
    pub(crate) fn new(payload: &str) -> Result<Self, Failure> {
        let code = QRBuilder::new(payload.as_bytes()).ecl(ECL::M).build().map_err(|_| {
            Failure::new(
                "the profile is too long for a QR code",
                "",
                "shorten the host's or post_knock's text",
            )
        })?;
        Ok(Self { code })
    }

    /// The side with its border, in modules.
    fn side(&self) -> usize {
        self.code.size + 2 * BORDER
    }

    fn dark(&self, row: usize, column: usize) -> bool {
        let (Some(row), Some(column)) = (row.checked_sub(BORDER), column.checked_sub(BORDER)) else {
            return false;
        };
        if row >= self.code.size || column >= self.code.size {
            return false;
        }
        self.code.data.get(row * self.code.size + column).is_some_and(|module| module.value())
    }

    /// Two modules a character, light ones drawn: on a dark terminal it looks as on paper, and readers take the
    /// inverse on a light one.
    pub(crate) fn blocks(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for row in (0..self.side()).step_by(2) {
            for column in 0..self.side() {
                let below = row + 1 < self.side() && !self.dark(row + 1, column);
                text.push(match (!self.dark(row, column), below) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            text.push('\n');
        }
        text
    }

    /// Writes it to `path`, as its ending says.
    ///
    /// # Errors
    /// The file system refused.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let svg = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
        let bytes = if svg { Zeroizing::new(self.svg().as_bytes().to_vec()) } else { self.png(path)? };
        // An older picture may have been readable by others: it goes first, so that its mode is not inherited.
        if path.exists() {
            std::fs::remove_file(path).map_err(|error| {
                Failure::file(format_args!("it cannot be replaced ({error})"), path, "choose another name")
            })?;
        }
        Ok(files::replace(path, &bytes, PRIVATE)?)
    }

    fn svg(&self) -> Zeroizing<String> {
        let side = self.side();
        let mut text = Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
        ));
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            if self.dark(row, column) {
                // Writing to a String cannot fail.
                let _ = write!(text, "M{column} {row}h1v1h-1z");
            }
        }
        text.push_str("\"/></svg>\n");
        text
    }

    fn png(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let side = self.side() * SCALE;
        let refused = |_| Failure::file("the picture could not be made", path, "choose .svg");
        let edge = u32::try_from(side)
            .map_err(|_| Failure::file("the picture is too large", path, "choose .svg"))?;
        let mut bytes = Zeroizing::new(Vec::new());
        let mut encoder = png::Encoder::new(&mut *bytes, edge, edge);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let pixels: Zeroizing<Vec<u8>> = Zeroizing::new(
            (0..side * side)
                .map(|at| if self.dark(at / side / SCALE, at % side / SCALE) { 0 } else { 255 })
                .collect(),
        );
        let mut writer = encoder.write_header().map_err(refused)?;
        writer.write_image_data(&pixels).map_err(refused)?;
        writer.finish().map_err(refused)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_terminal_gets_a_square_of_blocks_with_a_light_border() {
        let blocks = Picture::new("{\"profile\":\"default\"}").unwrap().blocks();
        let lines: Vec<&str> = blocks.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|c| c == '█'));
    }

    #[test]
    fn pictures_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.svg"] {
            let path = dir.path().join(name);
            std::fs::write(&path, "old").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            Picture::new("secret").unwrap().write(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(std::fs::read(dir.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
        assert!(std::fs::read_to_string(dir.path().join("a.svg")).unwrap().starts_with("<svg"));
    }
}
