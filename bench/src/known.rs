//! Known sources without a first knock each: for an unknown one's, all clients are tried, which takes 10,000 of them
//! forty minutes.

use std::time::Duration;

use portunus_interop::{Member, World};
use portunus_model::{ClientName, Element, Grounds, PortSpec};
use portunus_store::{BootId, Journal, Row};
use portunus_sys::{clock, files};

/// Writes the journal of a daemon that was killed while each of `crowd` had a grant. The next one takes it up, and
/// then knows who comes from where.
pub(crate) fn before_a_restart(world: &World, crowd: &[Member]) {
    // It makes its folders.
    assert!(world.serve().stop().success(), "the daemon ends well");
    let file = |letter| files::open_state(&world.place("state").join(format!("grants.{letter}")));
    let segments = [file("a").expect("a state file opens"), file("b").expect("a state file opens")];
    let boot = BootId::from_bytes(clock::boot_id().expect("the kernel has a boot id"));
    let now = clock::mono();
    let (mut journal, _) = Journal::open(segments, boot, now).expect("the journal opens");
    let port = PortSpec::parse("22/tcp").expect("a port").pop().expect("one port");
    let until = now.after(Duration::from_secs(50));
    let row = |member: &Member| {
        let client = ClientName::new(&member.name).expect("a name");
        Row {
            client,
            element: Element::here(member.address.into(), port),
            until,
            grounds: Grounds::default(),
        }
    };
    let rows: Vec<Row> = crowd.iter().map(row).collect();
    journal.compact(&rows).expect("the journal can be written");
}
