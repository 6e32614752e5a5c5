//! `alerts`: who is told, and whether that works.

use std::process::ExitCode;

use portunus_config::alerts::{Alerts, Carrier};
use portunus_config::{native, render_duration};

use super::args::AlertsWish;
use crate::files::RealFiles;
use crate::places::{Places, USER};
use crate::say::{CONFIG, FAILED, Failure, line};

/// `portunus alerts`.
pub(super) fn run(places: &Places, wish: &AlertsWish) -> Result<ExitCode, Failure> {
    let settings =
        native::load(&RealFiles, &places.config_dir).map_err(|found| Failure::lines(found, CONFIG))?;
    let Some(alerts) = &settings.alerts else {
        let mend = "write an [alerts] section into portunus.toml";
        return Err(Failure::new("nobody is told of anything", "", mend));
    };
    if !wish.test {
        show(alerts);
        return Ok(ExitCode::SUCCESS);
    }
    let tried = portunusd::alerts::try_out(&settings, USER)
        .map_err(|error| Failure::new(error, "", "run it as root, or as the daemon's user"))?;
    let mut failed = false;
    for (way, outcome) in tried {
        match outcome {
            Ok(()) => line(format_args!("{way}: sent")),
            Err(why) => {
                failed = true;
                line(format_args!("{way}: not sent: {why}"));
            }
        }
    }
    Ok(ExitCode::from(if failed { FAILED } else { 0 }))
}

fn show(alerts: &Alerts) {
    if let Some(mail) = &alerts.mail {
        let by = match &mail.carrier {
            Carrier::Smtp(smtp) => format!("{}, port {}", smtp.host, smtp.port),
            Carrier::Sendmail(program) => program.display().to_string(),
        };
        line(format_args!("mail     {} by {by}", mail.to.join(", ")));
    }
    if let Some(hook) = &alerts.webhook {
        line(format_args!("webhook  {}", hook.shown));
    }
    if let Some(command) = &alerts.command {
        line(format_args!("command  {}", command.join(" ")));
    }
    let what = match (alerts.grants, alerts.refusals) {
        (true, true) => "grants and refusals",
        (true, false) => "grants",
        (false, true) => "refusals",
        (false, false) => "nothing",
    };
    line(format_args!("what     {what}, at most once in {}", render_duration(alerts.every)));
}
