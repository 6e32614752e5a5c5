//! An assembler for classic programs: steps in their order, places by name. All jumps go forward, as they must.

use portunus_sys::bpf::{self, Step};

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Debug, Clone, Copy)]
enum Item {
    Here(Label),
    Step(Step),
    If { code: u16, k: u32, yes: Label, no: Label },
    Go(Label),
}

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Code {
    items: Vec<Item>,
    labels: usize,
}

impl Code {
    /// A place that is still to be put somewhere.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// Puts a place here.
    pub(super) fn here(&mut self, label: Label) {
        self.items.push(Item::Here(label));
    }

    /// A step that goes on to the next.
    pub(super) fn step(&mut self, code: u16, k: u32) {
        self.items.push(Item::Step(Step::plain(code, k)));
    }

    /// A condition.
    pub(super) fn when(&mut self, code: u16, k: u32, yes: Label, no: Label) {
        self.items.push(Item::If { code, k, yes, no });
    }

    /// On to a place.
    pub(super) fn go(&mut self, label: Label) {
        self.items.push(Item::Go(label));
    }

    /// The steps. From the last to the first: then every place that is jumped to is known, and where it is too far for
    /// the 8 bits of a condition, a jump of 32 bits is put behind it.
    pub(super) fn assemble(self) -> Vec<Step> {
        let mut behind =
            Backward { steps: Vec::with_capacity(self.items.len()), places: vec![0; self.labels] };
        for item in self.items.into_iter().rev() {
            match item {
                Item::Here(label) => behind.place(label),
                Item::Step(step) => behind.steps.push(step),
                Item::Go(label) => behind.jump(label),
                Item::If { code, k, yes, no } => behind.when(code, k, yes, no),
            }
        }
        behind.steps.reverse();
        behind.steps
    }
}

struct Backward {
    steps: Vec<Step>,
    /// For each label, how many steps are behind it. One that was never put anywhere lies beyond the end, where the
    /// kernel lets no program jump.
    places: Vec<usize>,
}

impl Backward {
    fn place(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = self.steps.len();
        }
    }

    fn skip(&self, label: Label) -> usize {
        self.steps.len() - self.places.get(label.0).copied().unwrap_or(0)
    }

    fn jump(&mut self, label: Label) {
        let skip = self.skip(label);
        if skip > 0 {
            self.steps.push(Step::plain(bpf::JUMP, u32::try_from(skip).unwrap_or(u32::MAX)));
        }
    }

    fn when(&mut self, code: u16, k: u32, yes: Label, no: Label) {
        // The other's jump may still come between, so one less than 8 bits hold.
        let far = |skip: usize| skip >= usize::from(u8::MAX);
        let mut near = |label: Label| {
            far(self.skip(label)).then(|| {
                self.jump(label);
                self.steps.len()
            })
        };
        let (yes_jump, no_jump) = (near(yes), near(no));
        let skip = |jump: Option<usize>, label: Label| {
            let skip = jump.map_or_else(|| self.skip(label), |place| self.steps.len() - place);
            u8::try_from(skip).unwrap_or(u8::MAX)
        };
        let step = Step { code, jt: skip(yes_jump, yes), jf: skip(no_jump, no), k };
        self.steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_reaches_far_places() {
        for between in [0_u32, 1, 200, 253, 254, 255, 256, 600] {
            let mut code = Code::default();
            let (yes, no, middle) = (code.label(), code.label(), code.label());
            code.step(bpf::LOAD_LENGTH, 0);
            code.when(bpf::IF_ABOVE, 100, yes, no);
            code.here(middle);
            for _ in 0..between {
                code.step(bpf::ADD, 1);
            }
            code.here(no);
            code.step(bpf::RETURN, 0);
            code.here(yes);
            code.step(bpf::RETURN, 7);
            let program = code.assemble();
            for (length, wanted) in [(100, 0), (101, 7)] {
                let bytes = vec![0; length];
                let frame = crate::Frame { protocol: 0, tag: None, bytes: &bytes };
                assert_eq!(super::super::machine::run(&program, frame), wanted, "{between}");
            }
        }
    }
}
