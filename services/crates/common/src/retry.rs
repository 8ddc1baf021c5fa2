//! Waits for another service that is still starting.

use std::{future::Future, time::Duration};
use tokio::time::{sleep, Instant};

/// First pause between two attempts; each following pause is twice as long, up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a service waits for another one before it exits and relies on the restart policy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause that follows a pause of this length.
pub fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// Calls `attempt` until it succeeds; returns the last error once [`PATIENCE`] is over. `what` is the other service's
/// name in the log.
pub async fn until_ready<T, E, F, A>(what: &str, mut attempt: A) -> Result<T, E>
where
    A: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() + pause > PATIENCE => return Err(error),
            Err(error) => {
                tracing::info!(%error, pause_ms = pause.as_millis(), "{what} is not ready yet");
                sleep(pause).await;
                pause = next_pause(pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn it_succeeds_as_soon_as_the_neighbour_does() {
        let calls = Cell::new(0);
        let answer = until_ready("it", || {
            calls.set(calls.get() + 1);
            let n = calls.get();
            async move {
                if n < 4 {
                    Err("no")
                } else {
                    Ok(n)
                }
            }
        });
        assert_eq!(answer.await, Ok(4));
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_within_its_patience() {
        let started = Instant::now();
        let answer: Result<(), _> = until_ready("it", || async { Err("never") }).await;
        assert_eq!(answer, Err("never"));
        assert!(started.elapsed() <= PATIENCE);
        assert!(started.elapsed() > PATIENCE - 2 * LONGEST_PAUSE);
    }

    #[test]
    fn pauses_double_and_stay_bounded() {
        assert_eq!(next_pause(FIRST_PAUSE), FIRST_PAUSE * 2);
        assert_eq!(next_pause(LONGEST_PAUSE), LONGEST_PAUSE);
    }
}
