//! What only this machine knows of what other programs' configurations name.

use std::path::Path;

use portunus_config::fwknop::Host;
use portunus_sys::{clock, users};

/// This machine.
pub(crate) struct Here;

impl Host for Here {
    fn is_user(&self, name: &str) -> bool {
        users::by_name(name).is_some()
    }

    fn is_group(&self, name: &str) -> bool {
        users::group_by_name(name).is_some()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn midnight(&self, year: i16, month: i8, day: i8) -> Option<i64> {
        clock::local_midnight(i32::from(year), i32::from(month), i32::from(day))
    }

    fn date(&self, seconds: i64) -> Option<String> {
        clock::local_date(seconds)
    }
}
