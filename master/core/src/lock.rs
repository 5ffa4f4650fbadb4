//! When a claim at its place in a lock's queue may be held (`docs/compat/behaviour-2-builds.md` 2.7).

/// One claim in a lock's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Nobody else may hold the lock with it.
    pub exclusive: bool,
    /// Units it takes; 0 takes nothing and always succeeds.
    pub units: i64,
    /// It is held, not waiting.
    pub held: bool,
}

/// Whether the claim at `position` of a lock's queue may be held, with `max_count` units to share.
///
/// The queue is fair: whoever waits ahead counts as if it held its units already, so that an exclusive claim is not
/// overtaken for ever by counting ones.
pub fn is_available(queue: &[Queued], position: usize, max_count: i64) -> bool {
    let claim = queue[position];
    if claim.units == 0 && !claim.exclusive {
        return true;
    }
    let others = || queue.iter().enumerate().filter(|(index, _)| *index != position).map(|(_, other)| other);
    let ahead = &queue[..position];
    if claim.exclusive {
        return !others().any(|other| other.held) && ahead.is_empty();
    }
    let blocked =
        others().any(|other| other.held && other.exclusive) || ahead.iter().any(|other| other.exclusive);
    let held: i64 = others().filter(|other| other.held).map(|other| other.units).sum();
    let waiting: i64 = ahead.iter().filter(|other| !other.held).map(|other| other.units).sum();
    !blocked && held + waiting + claim.units <= max_count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(units: i64, held: bool) -> Queued {
        Queued { exclusive: false, units, held }
    }

    fn exclusive(held: bool) -> Queued {
        Queued { exclusive: true, units: 1, held }
    }

    #[test]
    fn counting_claims_share_up_to_the_maximum() {
        let queue = [counting(1, true), counting(1, false), counting(1, false)];
        assert!(is_available(&queue, 1, 2));
        assert!(!is_available(&queue, 2, 2));
        assert!(is_available(&queue, 2, 3));
        assert!(!is_available(&[counting(3, false)], 0, 2));
    }

    #[test]
    fn an_exclusive_claim_waits_for_all_and_holds_off_who_comes_later() {
        let queue = [counting(1, true), exclusive(false), counting(1, false)];
        assert!(!is_available(&queue, 1, 9));
        assert!(!is_available(&queue, 2, 9));
        assert!(is_available(&[exclusive(false), counting(1, false)], 0, 9));
        assert!(!is_available(&[exclusive(true), counting(1, false)], 1, 9));
    }

    #[test]
    fn nothing_is_always_available() {
        assert!(is_available(&[exclusive(true), counting(0, false)], 1, 1));
    }
}
