//! One binary, several faces: by the name it is called by, or by the first word after it.
//!
//! Here is only the choice of the face. What a face's words mean stands in `faces/`; the rest of the modules is
//! shared by faces: places, failures, edits, pictures.

mod capture;
mod chains;
mod edit;
mod faces;
mod files;
mod here;
mod identity;
mod invitations;
mod keeping;
mod knocking;
mod paper;
mod picture;
mod pipeline;
mod places;
mod ruleset;
mod running;
mod say;
mod second_factor;
mod values;
mod wallet;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // A part of the daemon, started by the keeper: it has no words for people.
    if let [_, flag, part @ ..] = words.as_slice()
        && flag == portunusd::PART_FLAG
    {
        return portunusd::part_main(part);
    }
    faces::run(words)
}
