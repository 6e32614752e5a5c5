//! What no input may break where the daemon's processes, and the command line, speak to each other. Shared by the fuzz targets
//! and by the test that replays the corpora (crates/portunus-ctl/tests/corpus.rs).

use portunus_ctl::{control, frame, names, oracle, order};

/// Any line on the control socket: a request, or why it is none.
pub(crate) fn control(data: &[u8]) {
    if let Ok(request) = control::parse(data) {
        let line = serde_json::to_vec(&request).expect("a request is written");
        assert_eq!(control::parse(&line).as_ref(), Ok(&request));
    }
}

/// Any message of a front that was taken over, or of a part that went mad: what is read is written again as it was meant.
pub(crate) fn parts(data: &[u8]) {
    if let Ok(all) = frame::read(data) {
        let mut writer = frame::Writer::default();
        assert!(all.iter().all(|said| writer.add(said)), "what came in one message fits into one");
        assert_eq!(frame::read(writer.message()).as_ref(), Ok(&all));
    }
    if let Ok((ticket, name)) = names::read(data) {
        let again = names::write(ticket, name).expect("a name that was read can be asked for");
        assert_eq!(names::read(&again), Ok((ticket, name)));
    }
    if let Ok((ticket, address)) = names::read_answer(data) {
        assert_eq!(names::read_answer(&names::write_answer(ticket, address)), Ok((ticket, address)));
    }
    if let Ok((ticket, asked)) = order::read(data) {
        let again = order::write(ticket, &asked).expect("an order that was read can be given");
        assert_eq!(order::read(&again).as_ref(), Ok(&(ticket, asked)));
    }
    if let Ok(question) = oracle::read(data) {
        let again = oracle::write(&question).expect("a question that was read can be asked");
        assert_eq!(oracle::read(&again), Ok(question));
    }
    if let Ok((number, answer)) = oracle::read_answer(data) {
        assert_eq!(oracle::read_answer(&oracle::write_answer(number, &answer)), Ok((number, answer)));
    }
    if let Ok((ticket, ran)) = order::read_answer(data) {
        assert_eq!(order::read_answer(&order::write_answer(ticket, ran)), Ok((ticket, ran)));
    }
}
