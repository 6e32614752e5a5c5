//! `explain`: what every step of the pipeline makes of a knock's bytes. Opens nothing and claims nothing.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use portunus_config::native;
use portunus_sys::files;

use super::args::Explain;
use crate::capture::{self, Caught};
use crate::files::RealFiles;
use crate::pipeline::Pipeline;
use crate::places::Places;
use crate::say::{CONFIG, FAILED, Failure, line};

/// The most that is read of a capture.
const LONGEST: u64 = 64 << 20;

/// `portunus explain`: 0 when every knock in it would be granted.
pub(super) fn run(places: &Places, wish: &Explain) -> Result<ExitCode, Failure> {
    let settings =
        native::load(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let bytes = read(&wish.file)?;
    let caught = capture::parse(&bytes).map_err(|error| {
        Failure::file(error, &wish.file, "give it a pcap, or the bytes of one knock in hex")
    })?;
    let mut pipeline = Pipeline::new(settings, &places.state_dir)?;
    let mut granted = 0;
    for (number, one) in caught.iter().enumerate() {
        if number > 0 {
            line("");
        }
        let source = wish.source.or(one.source.map(|source| source.ip()));
        let whence = source.map_or_else(String::new, |source: IpAddr| format!(" from {source}"));
        line(format_args!("datagram {}: {} bytes{whence}", number + 1, one.bytes.len()));
        let told = pipeline.explain(&Caught { bytes: one.bytes.clone(), ..*one }, source, wish.at.or(one.at));
        for (step, what) in &told.steps {
            line(format_args!("  {step:<13} {what}"));
        }
        granted += usize::from(told.granted);
    }
    Ok(ExitCode::from(if granted == caught.len() { 0 } else { FAILED }))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return Ok(files::read_bytes(path, files::Secrecy::Public)?);
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|error| {
        Failure::new(format_args!("it cannot be read ({error})"), "standard input", "give it a file")
    })?;
    Ok(bytes)
}
