//! The figures of the large cluster.

use anyhow::Result;
use serde::Serialize;

use super::Options;
use crate::{cluster::Shape, memory::Memory};

/// Budgets of the design, MiB, at 100,000 endpoints and 50,000 series.
const WINDOWS_OFF: f64 = 256.0;
const WINDOWS_ON: f64 = 512.0;

/// What a phase took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Step {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) double_cpu_seconds: f64,
    pub(super) memory_mib: Memory,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    shape: Shape,
    /// That were made.
    pub(super) changes_per_second: u64,
    pub(super) stores_changes_per_second: u64,
    /// At the end.
    load_average: f64,
    pub(super) series: f64,
    pub(super) sync: Step,
    pub(super) churn: Step,
    /// From the last change until the controller told of it.
    pub(super) behind_ms: f64,
    pub(super) windows_off: Step,
    pub(super) windows_on: Step,
    /// Of memory the most that was resident meanwhile.
    pub(super) scrapers: Step,
    /// What the windows themselves hold.
    pub(super) window_mib: f64,
    pub(super) stores_sync: Step,
    pub(super) stores_churn: Step,
}

impl Figures {
    pub(super) fn new(options: &Options) -> Self {
        let none = Step::default();
        Self {
            shape: options.shape,
            changes_per_second: 0,
            stores_changes_per_second: 0,
            load_average: 0.0,
            series: 0.0,
            sync: none,
            churn: none,
            behind_ms: 0.0,
            windows_off: none,
            windows_on: none,
            scrapers: none,
            window_mib: 0.0,
            stores_sync: none,
            stores_churn: none,
        }
    }

    pub(super) fn print(mut self, json: bool) -> Result<()> {
        self.load_average = crate::load_average()?;
        if json {
            println!("{}", serde_json::to_string(&self)?);
            return Ok(());
        }
        println!(
            "| phase | s | CPU s | resident MiB | at most | the double's CPU s |\n|---|---:|---:|---:|---:|---:|"
        );
        for (name, step) in [
            ("all is read", self.sync),
            ("endpoints change", self.churn),
            ("series, without windows", self.windows_off),
            ("series, with windows", self.windows_on),
            ("ten scrapers read at once", self.scrapers),
            ("kube-rs's stores: all is read", self.stores_sync),
            ("kube-rs's stores: endpoints change", self.stores_churn),
        ] {
            println!(
                "| {name} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} |",
                step.seconds,
                step.cpu_seconds,
                step.memory_mib.resident,
                step.memory_mib.peak,
                step.double_cpu_seconds
            );
        }
        println!(
            "\n{} Services, {} endpoints with a Pod each, {} changes a second (with the stores {}; a Pod comes, its \
             EndpointSlice names it, another goes), {:.0} series. The last change was told of {:.0} ms later. Windows hold {:.0} MiB. Load average {:.1}.\n\
             Budgets: {WINDOWS_OFF:.0} MiB without windows: {}; {WINDOWS_ON:.0} MiB with: {}.",
            self.shape.services,
            self.shape.services * self.shape.endpoints,
            self.changes_per_second,
            self.stores_changes_per_second,
            self.series,
            self.behind_ms,
            self.window_mib,
            self.load_average,
            kept(self.windows_off, WINDOWS_OFF),
            kept(self.windows_on, WINDOWS_ON),
        );
        Ok(())
    }
}

fn kept(step: Step, budget: f64) -> &'static str {
    if step.memory_mib.resident <= budget {
        "kept"
    } else {
        "missed"
    }
}
