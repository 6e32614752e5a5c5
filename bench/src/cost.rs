//! What processes have used, from /proc.

use std::fs;
use std::time::Duration;

/// The CPU time of each of these processes, all its threads, user and system.
pub(crate) fn cpu(pids: &[u32]) -> Vec<Duration> {
    // The first number of schedstat: nanoseconds on a CPU. /proc/PID/stat counts in hundredths of a second.
    let of_thread = |path: std::path::PathBuf| -> u64 {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let of = |pid: &u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        Duration::from_nanos(threads.map(|thread| of_thread(thread.path())).sum())
    };
    pids.iter().map(of).collect()
}

/// The same of this process.
pub(crate) fn own() -> Duration {
    cpu(&[std::process::id()]).into_iter().sum()
}

/// The proportional set size of all of these processes together, as text.
pub(crate) fn pss(pids: &[u32]) -> String {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(0)
    };
    let all: Vec<u32> = pids.iter().map(of).collect();
    let each: Vec<String> = all.iter().map(|&kb| megabytes(kb)).collect();
    format!("{} MB ({})", megabytes(all.iter().sum()), each.join(" + "))
}

fn megabytes(kb: u32) -> String {
    format!("{:.1}", f64::from(kb) / 1024.0)
}

/// So many a second of CPU.
pub(crate) fn ratio(done: u64, spent: Duration) -> f64 {
    let done = u32::try_from(done).map_or(f64::MAX, f64::from);
    if spent.is_zero() { 0.0 } else { done / spent.as_secs_f64() }
}
