//! Runs a program as the kernel does, for packets that do not come from it. Only the steps that emit.rs makes.

use portunus_sys::bpf::{self, Step};

use crate::Frame;

/// Scratch memory of a program, in words (linux/filter.h, `BPF_MEMWORDS`).
const WORDS: usize = 16;

/// How many bytes of the packet the program keeps; 0 drops it. A program that reads beyond the packet drops it.
pub(super) fn run(program: &[Step], frame: Frame<'_>) -> u32 {
    Machine { frame, a: 0, x: 0, stored: [0; WORDS] }.run(program).unwrap_or(0)
}

struct Machine<'a> {
    frame: Frame<'a>,
    a: u32,
    x: u32,
    stored: [u32; WORDS],
}

impl Machine<'_> {
    fn run(mut self, program: &[Step]) -> Option<u32> {
        let mut at = 0_usize;
        // Jumps go forward only, so this ends.
        loop {
            let step = program.get(at)?;
            let skip = match step.code {
                bpf::RETURN => return Some(step.k),
                bpf::JUMP => usize::try_from(step.k).ok()?,
                bpf::IF_EQUAL => branch(step, self.a == step.k),
                bpf::IF_ABOVE => branch(step, self.a > step.k),
                bpf::IF_AT_LEAST => branch(step, self.a >= step.k),
                bpf::IF_ANY_BIT => branch(step, self.a & step.k != 0),
                _ => {
                    self.plain(step)?;
                    0
                }
            };
            at = at.checked_add(skip)?.checked_add(1)?;
        }
    }

    fn plain(&mut self, step: &Step) -> Option<()> {
        let at_x = self.x.wrapping_add(step.k);
        match step.code {
            bpf::LOAD_LENGTH => self.a = u32::try_from(self.frame.bytes.len()).ok()?,
            bpf::LOAD_NUMBER => self.a = step.k,
            bpf::LOAD_WORD => self.a = self.absolute(step.k)?,
            bpf::LOAD_WORD_AT_X => self.a = u32::from_be_bytes(self.bytes(at_x)?),
            bpf::LOAD_HALF_AT_X => self.a = u16::from_be_bytes(self.bytes(at_x)?).into(),
            bpf::LOAD_BYTE_AT_X => self.a = u8::from_be_bytes(self.bytes(at_x)?).into(),
            bpf::LOAD_STORED => self.a = *self.stored.get(usize::try_from(step.k).ok()?)?,
            bpf::STORE => *self.stored.get_mut(usize::try_from(step.k).ok()?)? = self.a,
            bpf::A_TO_X => self.x = self.a,
            bpf::ADD_X => self.a = self.a.wrapping_add(self.x),
            bpf::SUBTRACT_X => self.a = self.a.wrapping_sub(self.x),
            bpf::ADD => self.a = self.a.wrapping_add(step.k),
            bpf::AND => self.a &= step.k,
            bpf::SHIFT_LEFT => self.a = self.a.checked_shl(step.k)?,
            bpf::SHIFT_RIGHT => self.a = self.a.checked_shr(step.k)?,
            _ => return None,
        }
        Some(())
    }

    /// What the kernel knows of the packet is read as if it lay at places beyond any packet.
    fn absolute(&self, at: u32) -> Option<u32> {
        match at {
            bpf::PROTOCOL => Some(self.frame.protocol.into()),
            bpf::VLAN_TAG => Some(self.frame.tag.unwrap_or(0).into()),
            bpf::VLAN_PRESENT => Some(self.frame.tag.is_some().into()),
            _ => Some(u32::from_be_bytes(self.bytes(at)?)),
        }
    }

    fn bytes<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.frame.bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
    }
}

fn branch(step: &Step, holds: bool) -> usize {
    usize::from(if holds { step.jt } else { step.jf })
}
