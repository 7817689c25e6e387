// The native side of the benchmarks: the same loops in Rust with std only. It reads lines `<case> <milliseconds>` and
// answers each with nanoseconds per operation. Build: rustc -C opt-level=3 --edition 2021 main.rs
// The cases are named like the contenders of bench/groups; every operation of every loop must be granted.

mod budget;
mod governor;
mod meter;
mod tokens;
mod tracker;

use std::io::{BufRead, Write};
use std::time::Duration;

fn main() {
    let counter = budget::Budget::new(1_000_000);
    let tokens = tokens::TokenBudget::new((1 << 53) - 1);
    let tracker = tracker::Tracker::new(1_000_000);
    let governor = governor::Governor::new(8, 16);
    let hot = budget::Budget::new(1_000_000);

    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin is readable");
        let (case, milliseconds) = line.split_once(' ').expect("a line is `<case> <milliseconds>`");
        let time = Duration::from_millis(milliseconds.parse().expect("milliseconds are a whole number"));
        let nanoseconds = match case {
            "counter-native" => meter::measure(time, |operations| budget::reserve_and_release(&counter, operations)),
            "tokens-native" => meter::measure(time, |operations| tokens::reserve_and_record(&tokens, operations)),
            "tracker-native" => meter::measure(time, |operations| tracker::reserve_and_drop(&tracker, operations)),
            "governor-native" => meter::measure(time, |operations| governor::acquire_and_drop(&governor, operations)),
            "threads-native-1" => meter::measure_threads(1, time, &hot, budget::reserve_and_release),
            "threads-native-2" => meter::measure_threads(2, time, &hot, budget::reserve_and_release),
            _ => panic!("there is no case {case}"),
        };
        println!("{nanoseconds}");
        std::io::stdout().flush().expect("stdout is writable");
    }
}
