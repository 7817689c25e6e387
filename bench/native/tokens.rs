// Tokens with the semantics of the seed's AtomicTokenBudget: a reservation owns a boxed closure that refunds it when it is
// dropped, and holds the budget weakly; recording disarms it, counts the usage and gives back the difference.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

type Refund = Box<dyn FnOnce(u64) + Send + Sync>;

pub struct Reservation {
    estimate: u64,
    refund: Option<Refund>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(refund) = self.refund.take() {
            refund(self.estimate);
        }
    }
}

struct Pool {
    capacity: u64,
    available: AtomicU64,
    consumed: AtomicU64,
}

impl Pool {
    /// Replaces what is available by `next` of it, until no other thread came between.
    fn change(&self, next: impl Fn(u64) -> u64) {
        let mut seen = self.available.load(Ordering::Acquire);
        while let Err(now) =
            self.available.compare_exchange_weak(seen, next(seen), Ordering::AcqRel, Ordering::Acquire)
        {
            seen = now;
        }
    }

    fn give(&self, amount: u64) {
        if amount > 0 {
            self.change(|seen| seen.saturating_add(amount).min(self.capacity));
        }
    }

    fn charge(&self, amount: u64) {
        if amount > 0 {
            self.change(|seen| seen.saturating_sub(amount));
        }
    }
}

pub struct TokenBudget {
    pool: Arc<Pool>,
}

impl TokenBudget {
    pub fn new(capacity: u64) -> Self {
        let pool = Pool { capacity, available: AtomicU64::new(capacity), consumed: AtomicU64::new(0) };
        TokenBudget { pool: Arc::new(pool) }
    }

    pub fn try_reserve_tokens(&self, estimate: u64) -> Option<Reservation> {
        let available = &self.pool.available;
        let mut seen = available.load(Ordering::Acquire);
        while seen >= estimate {
            match available.compare_exchange_weak(seen, seen - estimate, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let pool = Arc::downgrade(&self.pool);
                    let refund: Refund = Box::new(move |amount| {
                        if let Some(pool) = pool.upgrade() {
                            pool.give(amount);
                        }
                    });
                    return Some(Reservation { estimate, refund: Some(refund) });
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    pub fn record_usage(&self, mut reservation: Reservation, prompt: u64, completion: u64) {
        let actual = prompt.saturating_add(completion);
        self.pool.consumed.fetch_add(actual, Ordering::AcqRel);
        drop(reservation.refund.take());
        if reservation.estimate >= actual {
            self.pool.give(reservation.estimate - actual);
        } else {
            self.pool.charge(actual - reservation.estimate);
        }
    }
}

pub fn reserve_and_record(budget: &TokenBudget, operations: u64) -> u64 {
    let mut granted = 0;
    for i in 0..operations {
        // The reservation goes through a black box, so that the allocation cannot be proved unnecessary.
        if let Some(reservation) = black_box(budget.try_reserve_tokens(black_box(100 + (i & 7)))) {
            budget.record_usage(reservation, 60, black_box(10 + (i & 7)));
            granted += 1;
        }
    }
    granted
}
