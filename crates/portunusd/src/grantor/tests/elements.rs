//! Of several words on one element, which one is carried out.

use super::*;

/// Turned on to this inner host.
fn turned(ticket: u64, client: &str, host: &str) -> Said {
    let Said::Open(_, plain) = opening(ticket, client, "192.0.2.7", &["22/tcp"], 30) else {
        panic!("not that")
    };
    let host = host.parse().unwrap();
    let way = Way::Nat(Nat { local: false, host, port: 8022, rewrite: true, source: NatSource::Kept });
    Said::Open(ticket, Opening { way, ..plain })
}

#[test]
fn of_two_translations_of_one_port_the_later_is_carried_out() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let nat = NatLimits { forward: true, ..NatLimits::default() };
    let translating = Limits { nat, ..limits() };
    let mut book = book_within(translating.clone(), &firewall, &folder);
    let inner = |firewall: &Shared| -> Vec<String> {
        let record = firewall.0.lock().unwrap();
        record.open.keys().map(|element| element.nat().unwrap().host.to_string()).collect()
    };
    let now = clock::mono();
    let said =
        vec![turned(1, "alice", "10.0.0.2"), turned(2, "alice", "10.0.0.2"), turned(3, "bob", "10.0.0.2")];
    assert_eq!(book.carry_out(now, said, true).0.len(), 3);
    assert_eq!((inner(&firewall), book.ledger.len()), (vec!["10.0.0.2".to_owned()], 2));
    let said = vec![turned(4, "alice", "10.0.0.3")];
    assert_eq!(book.carry_out(now, said, true).0, [Said::Opened(4, Opened::Open)]);
    assert_eq!((inner(&firewall), book.ledger.len()), (vec!["10.0.0.3".to_owned()], 1));
    // One that fails leaves what was there before.
    firewall.0.lock().unwrap().failing = Some(FirewallError::NotThere);
    assert_eq!(
        book.carry_out(now, vec![turned(5, "bob", "10.0.0.4")], true).0,
        [Said::Opened(5, Opened::Failed)]
    );
    firewall.0.lock().unwrap().failing = None;
    drop(book);
    let again = book_within(translating, &firewall, &folder);
    assert_eq!((inner(&firewall), again.ledger.len()), (vec!["10.0.0.3".to_owned()], 1));
    // Without the permission nothing of it is taken up.
    drop(again);
    let again = book_within(limits(), &firewall, &folder);
    assert_eq!((inner(&firewall), again.ledger.len()), (vec![], 0));
}

#[test]
fn the_last_word_of_a_batch_on_an_element_is_what_the_kernel_is_told() {
    let (firewall, folder) = (Shared::default(), tempfile::tempdir().unwrap());
    let mut book = book(&firewall, &folder);
    let ask = |n, secs| opening(n, "alice", "192.0.2.1", &["22/tcp"], secs);
    let close = || {
        Said::Close(Closing {
            client: Some(ClientName::new("alice").unwrap()),
            address: None,
            cause: Cause::Close,
        })
    };
    let told = || std::mem::take(&mut firewall.0.lock().unwrap().changes);
    book.carry_out(clock::mono(), vec![ask(1, 20), close(), ask(2, 30), ask(3, 10)], true);
    let lasting: Vec<u64> = told()
        .iter()
        .map(|change| match change {
            Change::Open(_, lasting) => lasting.as_millis().try_into().unwrap(),
            Change::Close(_) => 0,
        })
        .collect();
    assert_eq!(lasting, [30_000]);
    book.carry_out(clock::mono(), vec![ask(4, 40), close()], true);
    assert_eq!(told(), [Change::Close(element("192.0.2.1", "22/tcp"))]);
}
