//! Of a run that fails, the shortest that still does.

use super::run::Plan;
use super::trace::Trace;

/// How many shorter runs are tried at most.
const TRIES_MAX: usize = 400;

struct Shrinker {
    plan: Plan,
    checker: String,
    /// How many faults the run had.
    faults: u32,
    tries: usize,
}

/// Leaves out faults, and steps, as long as the same checker finds something. A run that does not fail is returned as it
/// is.
pub fn shrink(plan: &Plan) -> Plan {
    let outcome = plan.run(Trace::short());
    let Err(failure) = outcome.result else { return plan.clone() };
    let mut shrinker = Shrinker {
        plan: plan.clone(),
        checker: failure.checker,
        faults: outcome.struck.len() as u32,
        tries: 0,
    };
    let steps = outcome.steps.min(plan.steps);
    shrinker.attempt(Plan { steps, ..plan.clone() });
    shrinker.leave_out_faults();
    shrinker.leave_out_steps();
    shrinker.leave_out_faults();
    shrinker.plan
}

impl Shrinker {
    /// Takes the plan if it fails in the same way.
    fn attempt(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        if self.tries > TRIES_MAX {
            return false;
        }
        let outcome = plan.run(Trace::short());
        let fails = outcome.result.is_err_and(|failure| failure.checker == self.checker);
        if fails {
            self.faults = outcome.struck.len() as u32;
            self.plan = plan;
        }
        fails
    }

    /// Larger pieces first, then smaller ones.
    fn leave_out_faults(&mut self) {
        let mut piece = self.faults.next_power_of_two().max(1);
        loop {
            let mut first = 0;
            while first < self.faults {
                let mut without = self.plan.without.clone();
                without.extend(first..first + piece);
                if without.len() > self.plan.without.len() {
                    self.attempt(Plan { without, ..self.plan.clone() });
                }
                first += piece;
            }
            if piece == 1 {
                return;
            }
            piece /= 2;
        }
    }

    /// Repairs everything earlier.
    fn leave_out_steps(&mut self) {
        let mut piece = self.plan.steps / 2;
        while piece > 10 {
            let steps = self.plan.steps.saturating_sub(piece);
            if !self.attempt(Plan { steps, ..self.plan.clone() }) {
                piece /= 2;
            } else {
                piece = piece.min(self.plan.steps / 2);
            }
        }
    }
}
