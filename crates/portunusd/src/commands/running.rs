//! Programs that run: started without a shell, in a group of their own, for a bounded time.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use portunus_model::{CommandRule, Mono};
use portunus_sys::poll::{Interest, Poll};
use portunus_sys::process::ChildEnd;
use portunus_sys::users;

use super::argv::{self, ArgvError};

/// How many run at once.
const MOST: usize = 32;

/// Where programs are looked for that are named without a path; the only variable that they see.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    #[error("Error converting cmd str to argv: {0}")]
    Argv(#[from] ArgvError),
    #[error("there is no user {0:?} on this system")]
    User(String),
    #[error("there is no group {0:?} on this system")]
    Group(String),
    #[error("{program}: {what}")]
    Program { program: String, what: io::Error },
}

/// What to run, and as whom.
#[derive(Debug)]
pub(super) struct Job {
    words: Vec<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Job {
    /// A command of the configuration's own: as who we are.
    pub(super) fn ours(text: &str) -> Result<Self, BeginError> {
        Ok(Self { words: argv::split(text)?, uid: None, gid: None })
    }

    /// A command of a client's: as whom the stanza says, through sudo where it says so.
    pub(super) fn of_client(text: &str, rule: &CommandRule) -> Result<Self, BeginError> {
        let mut words = Vec::new();
        if let Some(sudo) = &rule.sudo {
            words.push(sudo.program.clone());
            for (flag, who) in [("-u", &sudo.user), ("-g", &sudo.group)] {
                words.extend(who.iter().flat_map(|who| [flag.to_owned(), who.clone()]));
            }
        }
        words.extend(argv::split(text)?);
        let user = match &rule.user {
            Some(name) => Some(users::by_name(name).ok_or_else(|| BeginError::User(name.clone()))?),
            None => None,
        };
        let gid = match &rule.group {
            Some(name) => Some(users::group_by_name(name).ok_or_else(|| BeginError::Group(name.clone()))?),
            // Whoever changes the user and not the group would leave root's to it.
            None => user.map(|ids| ids.gid),
        };
        Ok(Self { words, uid: user.map(|ids| ids.uid), gid })
    }

    /// The words, for the log.
    pub(super) fn shown(&self) -> String {
        self.words.join(" ")
    }

    fn start(&self, shows: bool) -> io::Result<Child> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
        command.stdin(Stdio::null());
        if shows {
            command.stdout(io::stderr()).stderr(Stdio::inherit());
        } else {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        if let Some(gid) = self.gid {
            command.gid(gid);
        }
        if let Some(uid) = self.uid {
            // The standard library gives up root's other groups with it.
            command.uid(uid);
        }
        command.spawn()
    }
}

/// One that runs, and what it is for.
struct Running<T> {
    child: Child,
    end: ChildEnd,
    deadline: Mono,
    overdue: bool,
    what: T,
}

/// How one ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    pub(super) what: T,
    pub(super) status: ExitStatus,
    /// It was killed because its time was up.
    pub(super) overdue: bool,
}

impl<T> Ended<T> {
    /// The code of its exit; of one that a signal ended, as a shell tells it.
    pub(super) fn code(&self) -> i32 {
        let signal = || 128_i32.saturating_add(self.status.signal().unwrap_or(0));
        self.status.code().unwrap_or_else(signal)
    }
}

/// All that run.
pub(super) struct Runners<T> {
    running: BTreeMap<u64, Running<T>>,
    next: u64,
    /// Whether what they print is shown where we log.
    shows: bool,
}

impl<T> Runners<T> {
    /// The first of the numbers by which their ends are waited for.
    pub(super) const TOKENS: u64 = 1 << 16;

    pub(super) fn new(shows: bool) -> Self {
        Self { running: BTreeMap::new(), next: Self::TOKENS, shows }
    }

    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MOST
    }

    /// Begins one. Its end comes by `poll`.
    pub(super) fn begin(
        &mut self,
        poll: &Poll,
        job: &Job,
        deadline: Mono,
        what: T,
    ) -> Result<(), BeginError> {
        let program = || job.words.first().cloned().unwrap_or_default();
        let wrong = |e: io::Error| BeginError::Program { program: program(), what: e };
        let mut child = job.start(self.shows).map_err(wrong)?;
        let token = self.next;
        let watched = ChildEnd::of(&child).and_then(|end| {
            poll.add(&end, token, Interest::Read)?;
            Ok(end)
        });
        let end = match watched {
            Ok(end) => end,
            Err(e) => {
                // One whose end nobody would see must not run.
                let _ = child.kill();
                let _ = child.wait();
                return Err(wrong(e));
            }
        };
        self.next += 1;
        self.running.insert(token, Running { child, end, deadline, overdue: false, what });
        Ok(())
    }

    /// When the next one's time is up.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.running.values().filter(|one| !one.overdue).map(|one| one.deadline).min()
    }

    /// Kills those whose time is up, with all that they have started in their group.
    pub(super) fn kill_overdue(&mut self, now: Mono) {
        for one in self.running.values_mut().filter(|one| !one.overdue && one.deadline <= now) {
            one.overdue = true;
            one.end.kill_group();
        }
    }

    /// The one behind a number has ended, if it has.
    pub(super) fn ended(&mut self, poll: &Poll, token: u64) -> Option<Ended<T>> {
        let status = self.running.get_mut(&token)?.child.try_wait().ok().flatten()?;
        let Running { end, what, overdue, .. } = self.running.remove(&token)?;
        let _ = poll.remove(&end);
        Some(Ended { what, status, overdue })
    }
}

/// How long a command may run when CMD_EXEC_TIMEOUT says nothing.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use portunus_model::Sudo;
    use portunus_sys::clock;

    use super::*;

    fn wait_for_end(runners: &mut Runners<&'static str>, poll: &mut Poll) -> Ended<&'static str> {
        loop {
            let due = runners.deadline().map(|due| due.since(clock::mono()));
            for ready in poll.wait(due.or(Some(Duration::from_secs(10)))).unwrap() {
                if let Some(ended) = runners.ended(poll, ready.token) {
                    return ended;
                }
            }
            runners.kill_overdue(clock::mono());
        }
    }

    fn begin(text: &str, patience: Duration) -> Ended<&'static str> {
        let (mut poll, mut runners) = (Poll::new().unwrap(), Runners::new(false));
        let job = Job::ours(text).unwrap();
        runners.begin(&poll, &job, clock::mono().after(patience), "it").unwrap();
        wait_for_end(&mut runners, &mut poll)
    }

    #[test]
    fn a_command_runs_and_its_exit_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("env > {}; umask >> {0}; exit 3", out.display());
        let ended = begin(&format!("sh -c '{script}'"), Duration::from_secs(10));
        assert_eq!((ended.code(), ended.overdue, ended.what), (3, false, "it"));
        let env = std::fs::read_to_string(&out).unwrap();
        assert!(env.contains(&format!("PATH={PATH}")) && !env.contains("HOME="), "{env}");
    }

    #[test]
    fn a_hanging_command_is_killed_when_its_time_is_up() {
        let ended = begin("sleep 300", Duration::from_millis(50));
        assert_eq!((ended.code(), ended.overdue), (128 + 9, true));
    }

    /// What `look` finds, however long this machine takes for it.
    fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = clock::mono().after(Duration::from_secs(60));
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(clock::mono() < deadline, "never came: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_hanging_command_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", out.display());
        let (mut poll, mut runners) = (Poll::new().unwrap(), Runners::new(false));
        let (job, deadline) =
            (Job::ours(&format!("sh -c '{script}'")).unwrap(), clock::mono().after(LONGEST));
        runners.begin(&poll, &job, deadline, "it").unwrap();
        let child = until("the number of the child's child", || {
            std::fs::read_to_string(&out).ok().filter(|text| text.ends_with('\n'))
        });
        runners.kill_overdue(deadline);
        let ended = wait_for_end(&mut runners, &mut poll);
        assert_eq!((ended.code(), ended.overdue), (128 + 9, true));
        let stat = format!("/proc/{}/stat", child.trim());
        // It may be a zombie until somebody has waited for it; what counts is that it does not run.
        until("the end of the child's child", || {
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")).then_some(())
        });
    }

    #[test]
    fn what_cannot_be_begun_says_why() {
        let (poll, mut runners) = (Poll::new().unwrap(), Runners::new(false));
        let job = Job::ours("/no/such/thing a").unwrap();
        let error = runners.begin(&poll, &job, clock::mono(), ()).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/thing: No such file"), "{error}");
        let rule = |user: &str| CommandRule { user: Some(user.into()), group: None, sudo: None };
        assert!(matches!(Job::of_client("id", &rule("no such user")), Err(BeginError::User(_))));
        assert!(matches!(Job::ours("a 'b"), Err(BeginError::Argv(ArgvError::Quote))));
    }

    #[test]
    fn sudo_goes_before_the_clients_words() {
        let sudo = Sudo {
            program: "/usr/bin/sudo".into(),
            user: Some("nobody".into()),
            group: Some("daemon".into()),
        };
        let rule = CommandRule { user: None, group: None, sudo: Some(sudo) };
        let job = Job::of_client("/usr/bin/id -u", &rule).unwrap();
        assert_eq!(job.shown(), "/usr/bin/sudo -u nobody -g daemon /usr/bin/id -u");
        let rule = CommandRule { user: Some("nobody".into()), ..CommandRule::default() };
        let job = Job::of_client("id", &rule).unwrap();
        assert_eq!((job.uid, job.gid), (Some(65_534), Some(65_534)));
    }
}
