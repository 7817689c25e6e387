// Times loops the way bench/meter.ts and bench/team.ts do: batches of at least a millisecond, the median of them; threads
// that begin together and work for the same time.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const BATCH: Duration = Duration::from_millis(1);
const THREAD_CHUNK_OPERATIONS: u64 = 1_000;

/// The median batch, in nanoseconds per operation.
pub fn measure(time: Duration, mut run: impl FnMut(u64) -> u64) -> f64 {
    let mut operations = 16;
    while batch(&mut run, operations) < BATCH {
        operations *= 2;
    }
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < time {
        samples.push(batch(&mut run, operations).as_nanos() as f64 / operations as f64);
    }
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn batch(run: &mut impl FnMut(u64) -> u64, operations: u64) -> Duration {
    let begin = Instant::now();
    let granted = run(black_box(operations));
    let elapsed = begin.elapsed();
    assert_eq!(granted, operations, "every operation must be granted");
    elapsed
}

/// Nanoseconds per operation of all threads together.
pub fn measure_threads<T: Sync>(
    threads: usize,
    time: Duration,
    shared: &T,
    run: fn(&T, u64) -> u64,
) -> f64 {
    let barrier = Barrier::new(threads);
    let operations_per_nanosecond: f64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&barrier, time, shared, run))).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
    });
    1.0 / operations_per_nanosecond
}

fn work<T>(barrier: &Barrier, time: Duration, shared: &T, run: fn(&T, u64) -> u64) -> f64 {
    barrier.wait();
    let begin = Instant::now();
    let mut operations = 0;
    while begin.elapsed() < time {
        assert_eq!(run(shared, black_box(THREAD_CHUNK_OPERATIONS)), THREAD_CHUNK_OPERATIONS);
        operations += THREAD_CHUNK_OPERATIONS;
    }
    operations as f64 / begin.elapsed().as_nanos() as f64
}
