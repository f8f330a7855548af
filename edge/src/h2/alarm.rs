//! Wakes a connection's task when there is something to do for the protocol, but not for what the task does itself: each
//! frame that is queued rings, and would have the task run once more for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Whether the task is at work, and will look by itself.
    is_at_work: AtomicBool,
    has_rung: AtomicBool,
    task: AtomicWaker,
}

impl Alarm {
    /// The task is at work, until [`Alarm::is_quiet`].
    pub(super) fn begin(&self, task: &Waker) {
        self.is_at_work.store(true, SeqCst);
        self.task.register(task);
    }

    /// Whatever has rung so far is done by what the task does next.
    pub(super) fn mute(&self) {
        self.has_rung.store(false, SeqCst);
    }

    /// The task has done all that it knows of. Returns whether nothing has rung since it was muted; from now on the task
    /// is woken.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_at_work.store(false, SeqCst);
        !self.has_rung.load(SeqCst)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In this order, so that either this sees that the task has ended its work, or the task that it has rung.
        self.has_rung.store(true, SeqCst);
        if !self.is_at_work.load(SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_task_is_woken_unless_it_is_at_work_and_then_it_looks_again() {
        let (alarm, task) = (Arc::new(Alarm::default()), Arc::new(Task::default()));
        let (bell, waker) = (Waker::from(Arc::clone(&alarm)), Waker::from(Arc::clone(&task)));
        let woken = || task.0.load(SeqCst);
        alarm.begin(&waker);
        bell.wake_by_ref();
        alarm.mute();
        assert!(alarm.is_quiet() && woken() == 0);
        bell.wake_by_ref();
        assert_eq!(woken(), 1);
        alarm.begin(&waker);
        alarm.mute();
        bell.wake_by_ref();
        assert!(!alarm.is_quiet() && woken() == 1);
        alarm.begin(&waker);
        alarm.mute();
        assert!(alarm.is_quiet());
        bell.wake_by_ref();
        assert_eq!(woken(), 2);
    }
}
