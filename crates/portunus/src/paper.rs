//! Completions and man pages of every face, made from its table of flags.

use std::path::Path;

use clap_complete::Shell;
use portunus_sys::files;

use crate::faces::FACES;
use crate::say::{Failure, out};

/// Prints a completion script.
pub(crate) fn completion(mut table: clap::Command, shell: Shell) {
    let name = table.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut table, name, &mut script);
    out(String::from_utf8_lossy(&script));
}

/// Writes the man pages of every face and of each of their commands into `dir`.
///
/// # Errors
/// The file system refused.
pub(crate) fn pages(dir: &Path) -> Result<(), Failure> {
    files::make_folder(dir, 0o755)?;
    for face in &FACES {
        let mut table = (face.table)();
        table.build();
        page(&table, face.name, face.section, dir)?;
        for command in table.get_subcommands().filter(|command| !command.is_hide_set()) {
            page(command, &format!("{}-{}", face.name, command.get_name()), face.section, dir)?;
        }
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str, section: &str, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(format!("{name}.{section}"));
    let title = name.to_owned();
    // The page of `portunus add` is called portunus-add(1), as git's are; its synopsis keeps the blank.
    let page =
        clap_mangen::Man::new(command.clone().display_name(title.clone())).title(title).section(section);
    let mut text = Vec::new();
    page.render(&mut text)
        .map_err(|error| Failure::file(format_args!("the page was not made ({error})"), &path, ""))?;
    Ok(files::replace(&path, &text, 0o644)?)
}
