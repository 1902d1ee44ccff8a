//! The API server's double, in a process of its own.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use gaugeway_apiserver::ApiServer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Cluster, Placed, Shape, Write};
use crate::program::{Program, Questions, say};

/// Subcommand of the process.
pub(crate) const NAME: &str = "double";
/// Changes of a kind that are kept, as a server compacts its past.
const KEPT: usize = 10_000;
/// Between two handfuls of changes.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// Changes a second from now on; 0 for none.
    Change { rate: u32 },
    /// Writes an object.
    Put { path: String, object: Value },
    /// Lets a user do everything.
    Grant { user: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Started {
    kubeconfig: PathBuf,
}

/// What was changed since it was last asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) changes: u64,
    pub(crate) last: Option<Placed>,
}

/// The process, as benches hold it.
#[derive(Debug)]
pub(crate) struct Double {
    program: Program,
    pub(crate) kubeconfig: PathBuf,
}

impl Double {
    /// With a cluster of that shape.
    pub(crate) async fn start(shape: Shape) -> Result<Self> {
        let arguments = [
            format!("--services={}", shape.services),
            format!("--endpoints={}", shape.endpoints),
        ];
        let (program, started) = Program::start::<Started>(NAME, &arguments).await?;
        Ok(Self {
            program,
            kubeconfig: started.kubeconfig,
        })
    }

    pub(crate) fn process(&self) -> Result<u32> {
        self.program.process()
    }

    /// Changes so many endpoints a second from now on; says what was changed before.
    pub(crate) async fn change(&mut self, rate: u32) -> Result<Changed> {
        self.program.ask(&Question::Change { rate }).await
    }

    pub(crate) async fn grant(&mut self, user: &str) -> Result<()> {
        let user = user.to_owned();
        let _: Changed = self.program.ask(&Question::Grant { user }).await?;
        Ok(())
    }

    pub(crate) async fn put(&mut self, path: &str, object: &Value) -> Result<()> {
        let (path, object) = (path.to_owned(), object.clone());
        let _: Changed = self.program.ask(&Question::Put { path, object }).await?;
        Ok(())
    }
}

/// Runs the process.
pub(crate) async fn run(shape: Shape) -> Result<()> {
    let server = ApiServer::start().await?;
    server.keep_changes(KEPT);
    let mut cluster = Cluster::new(shape);
    for write in cluster.objects() {
        do_write(&server, write)?;
    }
    let kubeconfig = server.kubeconfig();
    say(&Started { kubeconfig })?;
    let mut questions = Questions::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let per_tick = |rate: u32| f64::from(rate) * TICK.as_secs_f64();
    let (mut due, mut rate, mut changed) = (0.0, 0, Changed::default());
    loop {
        tokio::select! {
            question = questions.next() => match question? {
                None => return Ok(()),
                Some(Question::Change { rate: next }) => {
                    rate = next;
                    ticks.reset();
                    say(&std::mem::take(&mut changed))?;
                }
                Some(Question::Put { path, object }) => {
                    server.put(&path, object)?;
                    say(&Changed::default())?;
                }
                Some(Question::Grant { user }) => {
                    server.grant(&user, serde_json::json!({}));
                    say(&Changed::default())?;
                }
            },
            _ = ticks.tick(), if rate > 0 => {
                due += per_tick(rate);
                while due >= 1.0 {
                    due -= 1.0;
                    let (placed, writes) = cluster.change();
                    for write in writes {
                        do_write(&server, write)?;
                    }
                    changed.changes += 1;
                    changed.last = Some(placed);
                }
            }
        }
    }
}

fn do_write(server: &ApiServer, write: Write) -> Result<()> {
    match write {
        Write::Put(path, object) => server.put(&path, object),
        Write::Remove(path) => server.remove(&path),
    }
}
