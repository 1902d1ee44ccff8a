//! Calls between a VM and its controller, each with a fate of its own.

use std::collections::VecDeque;

use super::{
    controller::{Controller, status},
    host::Outgoing,
};
use crate::{
    ContextId,
    host::{CallToken, Reply},
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// The controller gets it, its answer is lost: the filter hears of a time-out.
    AnswerLost,
    /// The same, and the filter hears nothing at all.
    AnswerVanished,
    /// Never gets there.
    Refused(u16),
    /// Never gets there, and the filter hears nothing at all.
    Vanished,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Fates of the next calls; then all are delivered.
    pub(crate) fates: VecDeque<Fate>,
    /// The only token that is good, if any is asked for; the others are answered 401.
    pub(crate) good_token: Option<&'static str>,
    /// Calls that the controller holds, with the root that made them.
    waiting: Vec<(CallToken, ContextId, Fate)>,
    pub(crate) calls: u64,
}

impl Network {
    /// Brings a call to the controller; returns the answers that it gives at once, to whichever calls.
    pub(crate) fn send(
        &mut self,
        call: &Outgoing,
        controller: &mut Controller,
        now: u64,
    ) -> Vec<(CallToken, Reply)> {
        self.calls += 1;
        let fate = self.fates.pop_front().unwrap_or(Fate::Delivered);
        let has = |token: &str| {
            let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
            call.headers.contains(&bearer)
        };
        let fate = match self.good_token {
            Some(token) if !has(token) => Fate::Refused(401),
            _ => fate,
        };
        self.waiting.push((call.token, call.root, fate));
        match fate {
            Fate::Vanished => {
                self.waiting.retain(|&(token, ..)| token != call.token);
                Vec::new()
            }
            Fate::Refused(code) => vec![(call.token, status(code))],
            Fate::Delivered | Fate::AnswerLost | Fate::AnswerVanished => {
                controller.handle(call.token, &call.path, &call.body, now)
            }
        }
    }

    /// Brings answers back, as far as their fates let them.
    pub(crate) fn answer(
        &mut self,
        answers: Vec<(CallToken, Reply)>,
        mut hear: impl FnMut(ContextId, CallToken, Reply),
    ) {
        for (token, reply) in answers {
            let Some(position) = self.waiting.iter().position(|&(of, ..)| of == token) else {
                continue;
            };
            let (_, root, fate) = self.waiting.remove(position);
            let reply = match fate {
                Fate::AnswerVanished => continue,
                Fate::AnswerLost => Reply {
                    status: Some(504),
                    ..Reply::default()
                },
                _ => reply,
            };
            hear(root, token, reply);
        }
    }

    /// A root is gone, and with it the answers to its calls.
    pub(crate) fn forget(&mut self, root: ContextId) {
        self.waiting.retain(|&(_, of, _)| of != root);
    }
}
