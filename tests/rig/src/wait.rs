//! Waiting for a condition, never for a time.

use std::{future::Future, time::Duration};

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep};

/// Between two looks, at first; doubles up to [`SLOWEST`].
const FASTEST: Duration = Duration::from_millis(5);
const SLOWEST: Duration = Duration::from_millis(100);

/// Deadline for what normally takes well under a second; generous, since machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `look` is `Ok` and returns its value. An `Err` is "not yet" and says what was seen.
///
/// # Errors
/// When `deadline` passes first; names `what` and shows what was seen last.
pub async fn until<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut pause = FASTEST;
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => {
                return Err(anyhow!(
                    "{what}: not within {deadline:?}; last seen: {seen:#}"
                ));
            }
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_the_first_success() {
        let mut looks = 0;
        let value = until("three looks", PATIENCE, || {
            looks += 1;
            let now = looks;
            async move {
                if now == 3 {
                    Ok(now)
                } else {
                    Err(anyhow!("look {now}"))
                }
            }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn says_what_was_seen_last() {
        let error = until::<(), _, _>("a miracle", Duration::from_secs(1), || async {
            Err(anyhow!("nothing yet"))
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("a miracle"), "{error}");
        assert!(error.to_string().contains("nothing yet"), "{error}");
    }
}
