use std::fs;
use std::path::Path;

use portunus_model::{Cause, Unix};

use super::*;

fn at() -> Unix {
    Unix::from_secs(1_795_644_297)
}

fn closed(client: &str) -> Fact {
    Fact::Closed {
        client: client.to_owned(),
        address: "192.0.2.7".parse().unwrap(),
        ports: "22/tcp".to_owned(),
        why: Cause::Expiry,
    }
}

fn open(dir: &Path, bounds: Bounds) -> (AuditLog, Found) {
    AuditLog::open(dir, bounds, at()).unwrap()
}

/// So many lines, three a flush, and a clean end.
fn filled(dir: &Path, lines: u32, bounds: Bounds) {
    let (mut log, found) = open(dir, bounds);
    assert_eq!(found, Found { clean_end: true, ..Found::default() });
    for n in 0..lines {
        log.add(at(), By::Grantor, closed(&format!("client-{n}")));
        if n % 3 == 2 {
            log.flush(at()).unwrap();
        }
    }
    log.add(at(), By::Keeper, Fact::Stopped { grants_closed: false, asked: true });
    log.flush(at()).unwrap();
}

fn text(dir: &Path) -> Vec<u8> {
    fs::read(dir.join(FILE)).unwrap()
}

fn broken(dir: &Path) -> (String, u64, String) {
    match verify(dir, None) {
        Err(AuditError::Broken { file, line, what }) => {
            (file.file_name().unwrap().to_string_lossy().into_owned(), line, what)
        }
        other => panic!("{other:?}"),
    }
}

fn broken_with(text: &[u8], dir: &Path) -> (u64, String) {
    fs::write(dir.join(FILE), text).unwrap();
    let (_, line, what) = broken(dir);
    (line, what)
}

#[test]
fn a_line_is_json_that_a_person_can_read() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1, Bounds::default());
    let text = String::from_utf8(text(dir.path())).unwrap();
    let line = text.lines().nth(1).unwrap();
    let start = r#"{"seq":2,"at":"2026-11-25T22:04:57.000Z","by":"grantor","what":"closed","address":"192.0.2.7","client":"client-0","ports":"22/tcp","why":"expiry","chain":""#;
    assert!(line.starts_with(start), "{line}");
    let checked = verify(dir.path(), None).unwrap();
    assert_eq!((checked.files, checked.first, checked.head.seq, checked.torn), (1, 1, 3, 0));
}

#[test]
fn every_changed_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 4, Bounds::default());
    let whole = text(dir.path());
    assert!(verify(dir.path(), None).is_ok());
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        let (line, what) = broken_with(&changed, dir.path());
        let real = 1 + whole[..place].iter().filter(|&&byte| byte == b'\n').count() as u64;
        // A line whose end is gone is seen with the next one; the last one's is missing.
        assert!(line == real || line == 0, "byte {place} of line {real}: {line}: {what}");
    }
}

#[test]
fn lines_taken_out_swapped_or_put_in_are_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 9, Bounds::default());
    let whole = text(dir.path());
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    for gone in 1..lines.len() - 1 {
        let mut left = lines.clone();
        left.remove(gone);
        let (line, what) = broken_with(&left.concat(), dir.path());
        assert_eq!(line, gone as u64 + 1);
        assert_eq!(what, format!("line {} is missing before it", gone + 1));
        let mut swapped = lines.clone();
        swapped.swap(gone, gone + 1);
        let (line, what) = broken_with(&swapped.concat(), dir.path());
        assert_eq!(line, gone as u64 + 1);
        assert_eq!(what, format!("lines {} and {} are swapped", gone + 1, gone + 2));
        let mut twice = lines.clone();
        twice.insert(gone, lines[gone]);
        assert_eq!(broken_with(&twice.concat(), dir.path()).0, gone as u64 + 2);
    }
    let mut moved = lines.clone();
    let two: Vec<_> = moved.drain(2..4).collect();
    moved.extend(two);
    let (_, what) = broken_with(&moved.concat(), dir.path());
    assert_eq!(what, "lines 3 to 4 stand after it and not before it: lines were put elsewhere");
    let headless = lines[1..].concat();
    assert_eq!(broken_with(&headless, dir.path()).0, 1);
}

#[test]
fn what_is_cut_off_at_the_end_is_found_and_stays_known() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 9, Bounds::default());
    let whole = text(dir.path());
    for cut in 1..whole.len() {
        let (_, what) = broken_with(&whole[..cut], dir.path());
        assert!(what.contains("missing at the end"), "{what}");
    }
    assert_eq!(broken_with(b"", dir.path()).1, "lines 1 to 11 are missing at the end");
    // A start goes on, and says for good what it found.
    let cut = whole.iter().rposition(|&byte| byte == b'{').unwrap();
    fs::write(dir.path().join(FILE), &whole[..cut]).unwrap();
    let (mut log, found) = open(dir.path(), Bounds::default());
    assert_eq!(found.damage.as_deref(), Some("line 11 is missing at the end"));
    assert!(!found.clean_end);
    log.flush(at()).unwrap();
    let (_, line, what) = broken(dir.path());
    assert_eq!((line, what.as_str()), (11, "line 11 is missing before it"));
}

#[test]
fn a_start_moves_a_changed_file_aside_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 9, Bounds::default());
    let mut whole = text(dir.path());
    let middle = whole.len() / 2;
    whole[middle] ^= 1;
    fs::write(dir.path().join(FILE), &whole).unwrap();
    let (mut log, found) = open(dir.path(), Bounds::default());
    assert!(found.damage.unwrap().starts_with("audit.log:6: it does not fit the chain"));
    log.flush(at()).unwrap();
    assert_eq!(fs::read(dir.path().join("audit.log.1")).unwrap(), whole);
    let (file, line, _) = broken(dir.path());
    assert_eq!((file.as_str(), line), ("audit.log.1", 6));
    // Without that file the new one still tells.
    fs::remove_file(dir.path().join("audit.log.1")).unwrap();
    assert_eq!(broken(dir.path()), (FILE.to_owned(), 1, "lines 1 to 11 were kept, and are gone".to_owned()));
}

#[test]
fn without_its_anchor_or_its_file_it_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(verify(dir.path(), None), Err(AuditError::Nothing(dir.path().to_owned())));
    filled(dir.path(), 3, Bounds::default());
    let anchor = fs::read(dir.path().join(ANCHOR)).unwrap();
    fs::remove_file(dir.path().join(ANCHOR)).unwrap();
    assert_eq!(broken(dir.path()).0, ANCHOR);
    let (mut log, found) = open(dir.path(), Bounds::default());
    assert!(found.damage.unwrap().starts_with("audit.head"));
    log.flush(at()).unwrap();
    assert_eq!(broken(dir.path()).2, "a start found damage: audit.head is not there, or says nothing");

    fs::write(dir.path().join(ANCHOR), anchor).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    assert_eq!(broken(dir.path()), (FILE.to_owned(), 0, "it is gone, and 5 lines with it".to_owned()));
    let (mut log, found) = open(dir.path(), Bounds::default());
    assert!(found.damage.unwrap().starts_with("audit.log is not there"));
    log.flush(at()).unwrap();
    assert_eq!(broken(dir.path()).2, "lines 1 to 5 were kept, and are gone");
}

#[test]
fn a_kept_head_shows_what_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, Bounds::default());
    let head = verify(dir.path(), None).unwrap().head;
    assert_eq!(head.to_string().parse(), Ok(head));
    let (mut log, _) = open(dir.path(), Bounds::default());
    log.add(at(), By::Keeper, closed("later"));
    log.flush(at()).unwrap();
    assert!(verify(dir.path(), Some(head)).is_ok());
    // Whoever is root makes a whole new log, with its anchor.
    for name in [FILE, ANCHOR] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    filled(dir.path(), 7, Bounds::default());
    assert!(verify(dir.path(), None).is_ok());
    let found = verify(dir.path(), Some(head)).unwrap_err().to_string();
    assert!(found.ends_with("audit.log:5: it is not the line of the head that was kept"), "{found}");
    for wrong in ["", "5", "5:xyz", "x:00"] {
        assert!(wrong.parse::<Head>().is_err());
    }
}

/// Small files, three of them.
const SMALL: Bounds = Bounds { size: 2000, files: 3 };

#[test]
fn full_files_are_renamed_bounded_in_number_and_verified_across() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100, SMALL);
    let names = || {
        let all = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = all.map(|e| (e.file_name(), e.metadata().unwrap().len())).collect();
        names.sort();
        names
    };
    let kept = names();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(kept.iter().all(|(_, size)| *size < 3000), "{kept:?}");
    let checked = verify(dir.path(), None).unwrap();
    assert!(checked.first > 50 && checked.files == 3, "{checked:?}");
    let mut seen = Vec::new();
    each(dir.path(), |shown| {
        seen.push(shown.value["seq"].as_u64().unwrap());
        true
    })
    .unwrap();
    assert_eq!(seen, (checked.first..=checked.head.seq).collect::<Vec<_>>());

    // A full file that goes, or is put in another's place, is missed.
    for (gone, words) in
        [("audit.log.2", "were kept, and are gone"), ("audit.log.1", "does not end where it")]
    {
        let copy = tempfile::tempdir().unwrap();
        for (name, _) in names() {
            if name != gone {
                fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
            }
        }
        assert!(broken(copy.path()).2.contains(words), "{:?}", broken(copy.path()));
    }
    let (one, two) = (dir.path().join("audit.log.1"), dir.path().join("audit.log.2"));
    let aside = dir.path().join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    assert!(verify(dir.path(), None).is_err());
}

/// A crash between any two steps of beginning a new file.
#[test]
fn a_crash_while_a_file_is_full_looks_like_nothing_that_was_taken_away() {
    for step in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 60, SMALL);
        let path = |name: &str| dir.path().join(name);
        let first = read::first_number(&path("audit.log.1")).unwrap();
        let said = anchor::read(dir.path()).unwrap().unwrap();
        let mut anchor = anchor::Anchor::open(dir.path()).unwrap();
        // In their order.
        if step > 0 {
            anchor.say(said.last, said.chain, first).unwrap();
        }
        if step > 1 {
            fs::remove_file(path("audit.log.2")).unwrap();
        }
        if step > 2 {
            fs::rename(path("audit.log.1"), path("audit.log.2")).unwrap();
        }
        if step > 3 {
            fs::rename(path(FILE), path("audit.log.1")).unwrap();
        }
        drop(anchor);
        assert!(verify(dir.path(), None).is_ok(), "step {step}: {:?}", verify(dir.path(), None));
        let (mut log, found) = open(dir.path(), SMALL);
        assert_eq!(found, Found { clean_end: true, ..Found::default() }, "step {step}");
        log.add(at(), By::Keeper, closed("later"));
        log.flush(at()).unwrap();
        assert!(verify(dir.path(), None).is_ok(), "step {step}");
    }
}

/// A kill in the middle of a write: the line is there in part, and the anchor does not know it.
#[test]
fn a_torn_line_is_no_damage_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, Bounds::default());
    let (before, anchor) = (text(dir.path()), fs::read(dir.path().join(ANCHOR)).unwrap());
    let (mut log, _) = open(dir.path(), Bounds::default());
    log.add(at(), By::Keeper, closed("torn"));
    log.flush(at()).unwrap();
    let after = text(dir.path());
    for cut in before.len() + 1..=after.len() {
        fs::write(dir.path().join(FILE), &after[..cut]).unwrap();
        fs::write(dir.path().join(ANCHOR), &anchor).unwrap();
        let torn = if cut == after.len() { 0 } else { (cut - before.len()) as u64 };
        assert_eq!(verify(dir.path(), None).unwrap().torn, torn);
        let (mut log, found) = open(dir.path(), Bounds::default());
        assert_eq!((found.torn, found.damage), (torn, None));
        log.add(at(), By::Keeper, closed("after"));
        log.flush(at()).unwrap();
        assert_eq!(verify(dir.path(), None).unwrap().torn, 0);
        let told = String::from_utf8(text(dir.path())).unwrap().contains(r#""what":"repaired""#);
        assert_eq!(told, torn > 0);
    }
}

#[test]
fn what_was_lost_is_counted_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), Bounds::default());
    log.add(at(), By::Keeper, closed("first"));
    log.flush(at()).unwrap();
    log.lose(By::Grantor, 7);
    log.add(at(), By::Keeper, closed("last"));
    log.flush(at()).unwrap();
    log.flush(at()).unwrap();
    let text = String::from_utf8(text(dir.path())).unwrap();
    assert!(text.lines().nth(2).unwrap().contains(r#""what":"lost","entries":7,"of":"grantor""#), "{text}");
    assert_eq!((log.counts(), text.lines().count()), ((4, 7), 4));
    assert!(verify(dir.path(), None).is_ok());
}

#[test]
fn removed_under_us_it_goes_on_in_a_new_file_and_the_gap_shows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), Bounds::default());
    log.add(at(), By::Keeper, closed("first"));
    log.flush(at()).unwrap();
    fs::remove_file(dir.path().join(FILE)).unwrap();
    log.add(at(), By::Keeper, closed("second"));
    log.flush(at()).unwrap();
    assert_eq!(broken(dir.path()).2, "lines 1 to 2 were kept, and are gone");
}

#[test]
fn a_text_is_cut_and_never_ends_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), Bounds::default());
    for why in ["a\nb\"c\\\u{1b}[2J".to_owned(), "ä".repeat(100_000)] {
        log.add(at(), By::Keeper, Fact::NotPutBack { why });
    }
    log.flush(at()).unwrap();
    let text = String::from_utf8(text(dir.path())).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().all(|line| line.len() < 2000 && !line.chars().any(char::is_control)), "{text}");
    assert!(verify(dir.path(), None).is_ok());
}

/// Stopped before the oldest file goes, the anchor knows already what will be the first line.
#[test]
fn the_anchor_knows_of_a_removal_before_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 60, SMALL);
    let first = read::first_number(&dir.path().join("audit.log.1")).unwrap();
    let oldest = dir.path().join("audit.log.2");
    fs::remove_file(&oldest).unwrap();
    // A folder is not removed as a file is.
    fs::create_dir(&oldest).unwrap();
    let (mut log, _) = open(dir.path(), SMALL);
    let mut stopped = false;
    for n in 0..60 {
        log.add(at(), By::Keeper, closed(&format!("later-{n}")));
        stopped |= log.flush(at()).is_err();
    }
    assert!(stopped, "no file was full");
    assert_eq!(anchor::read(dir.path()).unwrap().unwrap().first, first);
    fs::remove_dir(&oldest).unwrap();
    assert!(verify(dir.path(), None).is_ok(), "{:?}", verify(dir.path(), None));
}
