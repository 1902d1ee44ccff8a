//! Questions to the API, one at a time, and their answers as events.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{
    answer::{Detail, List, Window},
    app::{Event, Key},
};
use crate::cli::api;

/// Where it asks, and for which namespace.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) url: String,
    pub(super) namespace: Option<String>,
}

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) window: Window,
    /// The Service that is open.
    pub(super) open: Option<Key>,
}

/// What the API said.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) question: Question,
    pub(super) list: List,
    /// None where none is open, or the open one is gone.
    pub(super) detail: Option<Detail>,
    pub(super) at: Instant,
}

impl Feed {
    /// Until nobody asks any more.
    pub(super) async fn run(self, mut asked: mpsc::Receiver<Question>, told: mpsc::Sender<Event>) {
        while let Some(question) = asked.recv().await {
            let event = match self.ask(question).await {
                Ok(answer) => Event::Told(Box::new(answer)),
                Err(error) => Event::Failed(format!("{error:#}")),
            };
            if told.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<Told> {
        let list: List = read(&self.list(question.window).await?)?;
        let detail = match &question.open {
            // One that has gone has no detail.
            Some(open) if list.services.iter().any(|of| of.key() == *open) => {
                let (namespace, name) = open;
                let window = question.window.as_str();
                let path = format!("/api/v1/services/{namespace}/{name}?window={window}");
                Some(read(&api::get(&self.url, &path).await?)?)
            }
            _ => None,
        };
        Ok(Told {
            detail,
            question,
            list,
            at: Instant::now(),
        })
    }

    /// `/api/v1/services` as it is.
    pub(super) async fn list(&self, window: Window) -> Result<Bytes> {
        let query: BTreeMap<_, _> = [
            ("window", Some(window.as_str())),
            ("namespace", self.namespace.as_deref()),
        ]
        .into();
        let query = query
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        let query: Vec<_> = query.collect();
        api::get(&self.url, &format!("/api/v1/services?{}", query.join("&"))).await
    }
}

pub(super) fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer)
        .context("the controller's answer is not understood; is it of the same version?")
}
