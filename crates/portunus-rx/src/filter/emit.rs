//! From a tree to a program. First the packet is taken apart once (tags, PPPoE, IP, extension headers) and what was found
//! is stored; then each test reads what is stored.

use std::net::IpAddr;

use portunus_model::{Lengths, Net};
use portunus_sys::bpf::{self, Step};

use super::code::{Code, Label};
use super::expr::{End, Expr, Test};
use crate::frame::{IPV4, IPV6, MOST_TAGS, PPP_IPV4, PPP_IPV6, PPPOE_SESSION, TAGS};

/// What is stored where: offsets of the IP header, of what it carries and of its end; the Ethernet type and protocol; and
/// VLANs and the session, each plus one, so that 0 is none.
const IP: u32 = 0;
const CARRIED: u32 = 1;
const TYPE: u32 = 2;
const PROTO: u32 = 3;
const END: u32 = 4;
const SESSION: u32 = 5;
const VLAN: u32 = 6;
const VLANS: u32 = 1 + MOST_TAGS as u32;

/// How many extension headers of an IPv6 packet are walked.
const MOST_EXTENSIONS: usize = 4;
/// IPv6 extension headers that are as long as they say (RFC 8200: hop-by-hop, routing, destination options), and the
/// fragment header.
const EXTENSIONS: [u32; 3] = [0, 43, 60];
const FRAGMENT: u32 = 44;

const UDP: u32 = 17;
const TCP: u32 = 6;
const ICMP: u32 = 1;
const ICMP6: u32 = 58;

/// The program that keeps `snap` bytes of what passes.
pub(super) fn emit(expr: &Expr, snap: u32) -> Vec<Step> {
    let mut code = Code::default();
    let (keep, drop) = (code.label(), code.label());
    let mut emitter = Emitter {
        tags: expr.asks(|test| matches!(test, Test::Vlan(_))),
        session: expr.asks(|test| matches!(test, Test::Session(_))),
        code,
        drop,
    };
    emitter.take_apart();
    emitter.expr(expr, keep, drop);
    let mut code = emitter.code;
    code.here(drop);
    code.step(bpf::RETURN, 0);
    code.here(keep);
    code.step(bpf::RETURN, snap);
    code.assemble()
}

struct Emitter {
    code: Code,
    drop: Label,
    /// Whether tags and the session are asked for.
    tags: bool,
    session: bool,
}

impl Emitter {
    fn take_apart(&mut self) {
        let code = &mut self.code;
        let (v4, v6, other, ready) = (code.label(), code.label(), code.label(), code.label());
        code.step(bpf::LOAD_NUMBER, 0);
        code.step(bpf::STORE, IP);
        if self.session {
            code.step(bpf::STORE, SESSION);
        }
        if self.tags {
            for n in 0..VLANS {
                code.step(bpf::STORE, VLAN + n);
            }
            self.taken_off();
        }
        let code = &mut self.code;
        let not_v4 = code.label();
        code.step(bpf::LOAD_WORD, bpf::PROTOCOL);
        code.step(bpf::STORE, TYPE);
        // Nearly every packet is one of these two.
        code.when(bpf::IF_EQUAL, IPV4.into(), v4, not_v4);
        code.here(not_v4);
        code.when(bpf::IF_EQUAL, IPV6.into(), v6, other);
        code.here(other);
        for n in 1..VLANS {
            self.tag(VLAN + n);
        }
        self.pppoe();
        let (code, drop) = (&mut self.code, self.drop);
        let not_v4 = code.label();
        code.step(bpf::LOAD_STORED, TYPE);
        code.when(bpf::IF_EQUAL, IPV4.into(), v4, not_v4);
        code.here(not_v4);
        code.when(bpf::IF_EQUAL, IPV6.into(), v6, drop);
        code.here(v6);
        self.v6(ready);
        self.code.here(v4);
        self.v4();
        self.code.here(ready);
        self.carried();
    }

    /// The tag that the kernel has taken off.
    fn taken_off(&mut self) {
        let code = &mut self.code;
        let (present, absent) = (code.label(), code.label());
        code.step(bpf::LOAD_WORD, bpf::VLAN_PRESENT);
        code.when(bpf::IF_EQUAL, 0, absent, present);
        code.here(present);
        code.step(bpf::LOAD_WORD, bpf::VLAN_TAG);
        code.step(bpf::AND, 0x0fff);
        code.step(bpf::ADD, 1);
        code.step(bpf::STORE, VLAN);
        code.here(absent);
    }

    /// One tag that lies in the packet, if there is one.
    fn tag(&mut self, slot: u32) {
        let code = &mut self.code;
        let (tag, behind) = (code.label(), code.label());
        code.step(bpf::LOAD_STORED, TYPE);
        for kind in TAGS {
            let next = code.label();
            code.when(bpf::IF_EQUAL, kind.into(), tag, next);
            code.here(next);
        }
        code.go(behind);
        code.here(tag);
        load_x(code, IP);
        if self.tags {
            code.step(bpf::LOAD_HALF_AT_X, 0);
            code.step(bpf::AND, 0x0fff);
            code.step(bpf::ADD, 1);
            code.step(bpf::STORE, slot);
        }
        code.step(bpf::LOAD_HALF_AT_X, 2);
        code.step(bpf::STORE, TYPE);
        move_on(code, IP, 4);
        code.here(behind);
    }

    /// Version and type 1, code 0: a session; then the PPP protocol (RFC 2516).
    fn pppoe(&mut self) {
        let (code, drop) = (&mut self.code, self.drop);
        let (session, sound, six, four, store, behind) =
            (code.label(), code.label(), code.label(), code.label(), code.label(), code.label());
        code.step(bpf::LOAD_STORED, TYPE);
        code.when(bpf::IF_EQUAL, PPPOE_SESSION.into(), session, behind);
        code.here(session);
        load_x(code, IP);
        code.step(bpf::LOAD_HALF_AT_X, 0);
        code.when(bpf::IF_EQUAL, 0x1100, sound, drop);
        code.here(sound);
        if self.session {
            code.step(bpf::LOAD_HALF_AT_X, 2);
            code.step(bpf::ADD, 1);
            code.step(bpf::STORE, SESSION);
        }
        let not_four = code.label();
        code.step(bpf::LOAD_HALF_AT_X, 6);
        code.when(bpf::IF_EQUAL, PPP_IPV4.into(), four, not_four);
        code.here(not_four);
        code.when(bpf::IF_EQUAL, PPP_IPV6.into(), six, drop);
        code.here(six);
        code.step(bpf::LOAD_NUMBER, IPV6.into());
        code.go(store);
        code.here(four);
        code.step(bpf::LOAD_NUMBER, IPV4.into());
        code.here(store);
        code.step(bpf::STORE, TYPE);
        move_on(code, IP, 8);
        code.here(behind);
    }

    /// RFC 791. Goes on behind itself.
    fn v4(&mut self) {
        let (code, drop) = (&mut self.code, self.drop);
        let (four, whole) = (code.label(), code.label());
        load_x(code, IP);
        code.step(bpf::LOAD_BYTE_AT_X, 0);
        code.step(bpf::SHIFT_RIGHT, 4);
        code.when(bpf::IF_EQUAL, 4, four, drop);
        code.here(four);
        code.step(bpf::LOAD_HALF_AT_X, 6);
        // More fragments, or an offset.
        code.when(bpf::IF_ANY_BIT, 0x3fff, drop, whole);
        code.here(whole);
        code.step(bpf::LOAD_BYTE_AT_X, 9);
        code.step(bpf::STORE, PROTO);
        code.step(bpf::LOAD_HALF_AT_X, 2);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::STORE, END);
        code.step(bpf::LOAD_BYTE_AT_X, 0);
        code.step(bpf::AND, 0x0f);
        code.step(bpf::SHIFT_LEFT, 2);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::STORE, CARRIED);
    }

    /// RFC 8200.
    fn v6(&mut self, ready: Label) {
        let (code, drop) = (&mut self.code, self.drop);
        let six = code.label();
        load_x(code, IP);
        code.step(bpf::LOAD_BYTE_AT_X, 0);
        code.step(bpf::SHIFT_RIGHT, 4);
        code.when(bpf::IF_EQUAL, 6, six, drop);
        code.here(six);
        code.step(bpf::LOAD_HALF_AT_X, 4);
        code.step(bpf::ADD, 40);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::STORE, END);
        code.step(bpf::LOAD_NUMBER, 40);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::STORE, CARRIED);
        code.step(bpf::LOAD_BYTE_AT_X, 6);
        code.step(bpf::STORE, PROTO);
        for _ in 0..MOST_EXTENSIONS {
            self.extension(ready);
        }
        self.code.go(ready);
    }

    fn extension(&mut self, ready: Label) {
        let (code, drop) = (&mut self.code, self.drop);
        let (long, fragment, whole, behind) = (code.label(), code.label(), code.label(), code.label());
        code.step(bpf::LOAD_STORED, PROTO);
        for kind in EXTENSIONS {
            let next = code.label();
            code.when(bpf::IF_EQUAL, kind, long, next);
            code.here(next);
        }
        code.when(bpf::IF_EQUAL, FRAGMENT, fragment, ready);
        code.here(fragment);
        load_x(code, CARRIED);
        code.step(bpf::LOAD_HALF_AT_X, 2);
        // An offset, or more fragments; a packet that is its own only fragment is whole (RFC 6946).
        code.when(bpf::IF_ANY_BIT, 0xfff9, drop, whole);
        code.here(whole);
        code.step(bpf::LOAD_BYTE_AT_X, 0);
        code.step(bpf::STORE, PROTO);
        move_on(code, CARRIED, 8);
        code.go(behind);
        code.here(long);
        load_x(code, CARRIED);
        code.step(bpf::LOAD_BYTE_AT_X, 0);
        code.step(bpf::STORE, PROTO);
        code.step(bpf::LOAD_BYTE_AT_X, 1);
        code.step(bpf::ADD, 1);
        code.step(bpf::SHIFT_LEFT, 3);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::STORE, CARRIED);
        code.here(behind);
    }

    /// Only what a knock can come by.
    fn carried(&mut self) {
        let (code, drop) = (&mut self.code, self.drop);
        let sound = code.label();
        code.step(bpf::LOAD_STORED, PROTO);
        for kind in [UDP, TCP, ICMP] {
            let next = code.label();
            code.when(bpf::IF_EQUAL, kind, sound, next);
            code.here(next);
        }
        code.when(bpf::IF_EQUAL, ICMP6, sound, drop);
        code.here(sound);
    }

    fn expr(&mut self, expr: &Expr, yes: Label, no: Label) {
        match expr {
            Expr::Is(test) => self.test(test, yes, no),
            Expr::Not(inner) => self.expr(inner, no, yes),
            Expr::And(a, b) => {
                let both = self.code.label();
                self.expr(a, both, no);
                self.code.here(both);
                self.expr(b, yes, no);
            }
            Expr::Or(a, b) => {
                let neither = self.code.label();
                self.expr(a, yes, neither);
                self.code.here(neither);
                self.expr(b, yes, no);
            }
        }
    }

    fn test(&mut self, test: &Test, yes: Label, no: Label) {
        match test {
            Test::Any => self.code.go(yes),
            Test::Family(family) => self.stored(TYPE, (*family).into(), yes, no),
            Test::Proto(number) => self.stored(PROTO, (*number).into(), yes, no),
            Test::Port(end, low, high) => self.port(*end, *low, *high, yes, no),
            Test::Net(end, net) => self.net(*end, net, yes, no),
            Test::Session(None) => self.stored(SESSION, 0, no, yes),
            Test::Session(Some(number)) => self.stored(SESSION, u32::from(*number) + 1, yes, no),
            Test::Vlan(vlan) => {
                for slot in VLAN..VLAN + VLANS {
                    let next = self.code.label();
                    match vlan {
                        Some(vlan) => self.stored(slot, u32::from(*vlan) + 1, yes, next),
                        None => self.stored(slot, 0, next, yes),
                    }
                    self.code.here(next);
                }
                self.code.go(no);
            }
            Test::Length(lengths) => self.length(lengths, yes, no),
        }
    }

    fn stored(&mut self, slot: u32, value: u32, yes: Label, no: Label) {
        self.code.step(bpf::LOAD_STORED, slot);
        self.code.when(bpf::IF_EQUAL, value, yes, no);
    }

    fn port(&mut self, end: End, low: u16, high: u16, yes: Label, no: Label) {
        let (tcp, ports, not_below) = (self.code.label(), self.code.label(), self.code.label());
        self.stored(PROTO, UDP, ports, tcp);
        self.code.here(tcp);
        self.stored(PROTO, TCP, ports, no);
        let code = &mut self.code;
        code.here(ports);
        load_x(code, CARRIED);
        let at = match end {
            End::Source => 0,
            End::Destination => 2,
        };
        code.step(bpf::LOAD_HALF_AT_X, at);
        if low == high {
            return code.when(bpf::IF_EQUAL, low.into(), yes, no);
        }
        code.when(bpf::IF_AT_LEAST, low.into(), not_below, no);
        code.here(not_below);
        code.when(bpf::IF_ABOVE, high.into(), no, yes);
    }

    fn net(&mut self, end: End, net: &Net, yes: Label, no: Label) {
        let family = self.code.label();
        let (kind, source, address, mask) = match net.address() {
            IpAddr::V4(address) => (IPV4, 12, u128::from(address.to_bits()) << 96, net.mask() << 96),
            IpAddr::V6(address) => (IPV6, 8, address.to_bits(), net.mask()),
        };
        let width = if kind == IPV4 { 4 } else { 16 };
        let at = match end {
            End::Source => source,
            End::Destination => source + width,
        };
        self.stored(TYPE, kind.into(), family, no);
        let code = &mut self.code;
        code.here(family);
        load_x(code, IP);
        for word in 0..width / 4 {
            let part = |bits: u128| (bits >> (96 - 32 * word)) as u32;
            if part(mask) == 0 {
                continue;
            }
            let next = code.label();
            code.step(bpf::LOAD_WORD_AT_X, at + 4 * word);
            if part(mask) != u32::MAX {
                code.step(bpf::AND, part(mask));
            }
            code.when(bpf::IF_EQUAL, part(address), next, no);
            code.here(next);
        }
        code.go(yes);
    }

    fn length(&mut self, lengths: &Lengths, yes: Label, no: Label) {
        let Some((shortest, _)) = lengths.ends() else { return self.code.go(no) };
        let (udp, not_udp, tcp, icmp) =
            (self.code.label(), self.code.label(), self.code.label(), self.code.label());
        self.stored(PROTO, UDP, udp, not_udp);
        self.code.here(udp);
        // What the UDP header says, its own 8 bytes included.
        load_x(&mut self.code, CARRIED);
        self.code.step(bpf::LOAD_HALF_AT_X, 4);
        self.ranges(lengths, yes, no);
        self.code.here(not_udp);
        self.stored(PROTO, TCP, tcp, icmp);
        self.code.here(icmp);
        load_x(&mut self.code, CARRIED);
        self.code.step(bpf::LOAD_STORED, END);
        self.code.step(bpf::SUBTRACT_X, 0);
        self.ranges(lengths, yes, no);
        let code = &mut self.code;
        code.here(tcp);
        load_x(code, CARRIED);
        // The TCP header's length is in the upper half of byte 12, in words.
        code.step(bpf::LOAD_BYTE_AT_X, 12);
        code.step(bpf::SHIFT_RIGHT, 4);
        code.step(bpf::SHIFT_LEFT, 2);
        code.step(bpf::ADD_X, 0);
        code.step(bpf::A_TO_X, 0);
        code.step(bpf::LOAD_STORED, END);
        code.step(bpf::SUBTRACT_X, 0);
        // A header beyond the end makes this huge; whoever reads the packet finds that out.
        code.when(bpf::IF_AT_LEAST, u32::try_from(shortest).unwrap_or(u32::MAX), yes, no);
    }

    /// Whether A, less 8 bytes of a header, is one of the lengths.
    fn ranges(&mut self, lengths: &Lengths, yes: Label, no: Label) {
        const HEADER: u32 = 8;
        for (low, high) in lengths.ranges() {
            let (next, not_above) = (self.code.label(), self.code.label());
            self.code.when(bpf::IF_ABOVE, HEADER + u32::from(high), next, not_above);
            self.code.here(not_above);
            self.code.when(bpf::IF_AT_LEAST, HEADER + u32::from(low), yes, no);
            self.code.here(next);
        }
        self.code.go(no);
    }
}

fn load_x(code: &mut Code, slot: u32) {
    code.step(bpf::LOAD_STORED, slot);
    code.step(bpf::A_TO_X, 0);
}

fn move_on(code: &mut Code, slot: u32, by: u32) {
    code.step(bpf::LOAD_STORED, slot);
    code.step(bpf::ADD, by);
    code.step(bpf::STORE, slot);
}
