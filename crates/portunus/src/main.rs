//! One binary, several faces: by the name it is called by, or by the first word after it.
//!
//! Here is only the choice of the face. What a face's words mean stands in `faces/`; the rest of the modules is
//! shared by faces: places, failures, edits, pictures.

mod faces;
mod places;
mod say;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    faces::run(words)
}
