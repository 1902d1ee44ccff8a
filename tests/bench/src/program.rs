//! Another process of this program, so that what it costs is told apart: it is asked by lines of JSON, and answers so.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A running one. It ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts the subcommand `name`; says what it said first.
    pub(crate) async fn start<T: DeserializeOwned>(
        name: &'static str,
        arguments: &[String],
    ) -> Result<(Self, T)> {
        let own = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(own)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let questions = child.stdin.take().context("its standard input")?;
        let answers = child.stdout.take().context("its standard output")?;
        let mut program = Self {
            name,
            child,
            questions,
            answers: BufReader::new(answers).lines(),
        };
        let first = program.answer().await?;
        Ok((program, first))
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        question: &impl Serialize,
    ) -> Result<T> {
        let line = serde_json::to_string(question)? + "\n";
        let asked = self.questions.write_all(line.as_bytes()).await;
        asked.with_context(|| format!("ask {}", self.name))?;
        self.answer().await
    }

    pub(crate) fn process(&self) -> Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{} has ended", self.name))
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        match self.answers.next_line().await? {
            Some(line) => {
                serde_json::from_str(&line).with_context(|| format!("{} said {line:?}", self.name))
            }
            None => bail!("{} ended before it answered", self.name),
        }
    }
}

/// In such a process: what is asked, one after the other, until the parent goes.
pub(crate) struct Questions(Lines<BufReader<tokio::io::Stdin>>);

impl Questions {
    pub(crate) fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let line = self.0.next_line().await?;
        let asked = line.map(|line| serde_json::from_str(&line));
        asked.transpose().context("a question")
    }
}

pub(crate) fn say(what: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}
