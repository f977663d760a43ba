//! One program for all decoders: `FUZZ_TARGET` names the one that libFuzzer's bytes go to; without it their names are printed. A panic, a
//! broken promise, an input that takes too long and one that takes more memory than its target may have end it, and libFuzzer keeps the input.

#![no_main]

mod memory;

use std::{process::exit, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use operator::fuzzing::Target;

#[global_allocator]
static MEMORY: memory::Bounded = memory::Bounded;

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn targets() -> impl Iterator<Item = &'static Target> {
    operator::fuzzing::TARGETS.iter().chain(primary::fuzzing::TARGETS)
}

fn choose() -> &'static Target {
    let Ok(name) = std::env::var("FUZZ_TARGET") else {
        targets().for_each(|target| println!("{}", target.name));
        exit(0);
    };
    targets().find(|target| target.name == name).unwrap_or_else(|| {
        eprintln!("FUZZ_TARGET={name}: there is no such target");
        exit(2);
    })
}

fuzz_target!(
    init: {
        CHOSEN.get_or_init(choose);
    },
    |data: &[u8]| {
        let target = CHOSEN.get_or_init(choose);
        memory::within(target.most_mib << 20, || (target.take)(data));
    }
);
