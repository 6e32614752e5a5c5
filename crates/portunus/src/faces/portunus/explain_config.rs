//! `explain-config`: what becomes of each line of another program's configuration. Changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use portunus_config::fwknop::{self, Effect, Row, Theirs};
use serde_json::json;

use super::args::ExplainOf;
use crate::files::RealFiles;
use crate::here::Here;
use crate::say::{CONFIG, FAILED, Failure, Table, line, out};

/// `portunus explain-config`: 0 when nothing is refused.
pub(super) fn run(of: ExplainOf) -> Result<ExitCode, Failure> {
    let ExplainOf::Fwknop { files, all, json } = of;
    let mut rows = Vec::new();
    for path in files {
        let theirs = if path.is_dir() { Theirs::Folder(path) } else { Theirs::File(path) };
        let found = fwknop::explain(&RealFiles, &Here, &theirs);
        rows.extend(found.map_err(|found| Failure::lines(found, CONFIG))?);
    }
    rows.retain(|row| all || row.place.is_some());
    if json {
        lines(&rows);
    } else {
        table(&rows);
    }
    let refused = rows.iter().any(|row| matches!(row.effect, Effect::Refused(_)));
    Ok(ExitCode::from(if refused { FAILED } else { 0 }))
}

fn table(rows: &[Row]) {
    let mut table = Table::new(&["PLACE", "VARIABLE", "VALUE", "HERE", "WHY"]);
    for row in rows {
        let place = row
            .place
            .as_ref()
            .map_or_else(|| "default".to_owned(), |(file, line)| format!("{}:{line}", file.display()));
        let (effect, why) = (row.effect.as_str().to_owned(), row.effect.why().to_owned());
        table.row([place, row.name.clone(), row.value.clone(), effect, why]);
    }
    out(&table);
    let count = |word: &str| rows.iter().filter(|row| row.effect.as_str() == word).count();
    let (same, none, refused) = (count("same"), count("no effect"), count("refused"));
    line(format_args!("{same} mean the same, {none} have no effect here, {refused} refused"));
}

fn lines(rows: &[Row]) {
    for row in rows {
        let (file, number): (Option<PathBuf>, Option<u32>) = row.place.clone().unzip();
        line(json!({
            "file": file,
            "line": number,
            "variable": row.name,
            "value": row.value,
            "here": row.effect.as_str(),
            "why": row.effect.why(),
        }));
    }
}
