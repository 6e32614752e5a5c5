//! `-R`: this machine's address as others see it.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use portunus_client::Families;
use portunus_client::own::{OwnError, Place, find_address, own_address};

use super::settings::Settings;
use super::{NAME, agent};
use crate::say::{Failure, line, remark};

/// Who is asked unless somebody else is named: by the family that the packet will go out by, since that is the
/// address that the server sees.
const FOUR: &str = "https://ipv4.icanhazip.com";
const SIX: &str = "https://ipv6.icanhazip.com";

/// Asks for the address.
///
/// # Errors
/// Nobody says it.
pub(super) fn resolve(settings: &Settings) -> Result<IpAddr, Failure> {
    let six = settings.server.as_ref().is_some_and(|server| matches!(server.parse(), Ok(IpAddr::V6(_))));
    let (usual, families) = if six { (SIX, Families::V6) } else { (FOUR, Families::V4) };
    let url = match (&settings.resolve_url, settings.resolve_http_only) {
        (Some(url), _) => url.clone(),
        (None, false) => usual.to_owned(),
        (None, true) => usual.replacen("https", "http", 1),
    };
    let place = Place::parse(&url).map_err(|error| Failure::new(error, "--resolve-url", ""))?;
    if settings.resolve_http_only && place.is_authentic() {
        let mend = "leave that flag out, or name a page that begins with http://";
        return Err(Failure::new("https is not supported for --resolve-http-only", &url, mend));
    }
    if !settings.resolve_http_only && !place.is_authentic() {
        remark(
            NAME,
            format_args!(
                "Warning: IP resolution URL '{url}' should begin with 'https://': else whoever is on the way can answer"
            ),
        );
    }
    let address = match &settings.wget {
        Some(program) if !settings.resolve_http_only => by_program(program, settings, &url)?,
        Some(_) | None => {
            own_address(&place, agent(settings), families).map_err(|error| unanswered(&error, &url))?
        }
    };
    if settings.verbose > 0 {
        line(format_args!("[+] Resolved external IP (via {url}) as: {address}"));
    }
    Ok(address)
}

fn unanswered(error: &OwnError, url: &str) -> Failure {
    let mend = "name another place by --resolve-url, a program by -w (as wget), or the address by -a";
    Failure::new(format_args!("Could not resolve IP via: '{url}': {error}"), "", mend)
}

/// Calls the program as the original calls wget.
fn by_program(program: &Path, settings: &Settings, url: &str) -> Result<IpAddr, Failure> {
    let mut command = Command::new(program);
    if !settings.wget_agent {
        command.args(["-U", agent(settings)]);
    }
    command.args(["--secure-protocol=auto", "--quiet", "-O", "-", url]);
    let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let failed = |why: String| {
        let what = format!("Could not resolve IP via: '{} {words}': {why}", program.display());
        Failure::new(what, "", "leave -w out: we can ask by ourselves")
    };
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    find_address(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| failed("the answer has no address in it".to_owned()))
}
