//! Which gateways told of the whole of a window: what tells idle from unknown.
//!
//! A worker VM reports spans that follow on each other, with counts or without. A gateway covers a window if one of its
//! VMs reported without a gap since before the window began, and is not overdue. What a VM that ended took with it is at
//! most one interval. Where all of them are late, and not overdue yet, windows end before what they have yet to tell:
//! else an object would seem to lose its traffic before it is unknown.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use gaugeway_wire::{GatewayName, Nanos, UnixNanos, VmId};

use crate::{
    limits::COVERAGE_IDLE,
    units::seconds,
    windows::{Place, Slot, Unfit, Window},
};

/// Between the end of a report's span and the begin of the next one's.
const GAP: Nanos = seconds(1);
/// Shortest time between two reports that is reckoned with.
const PACE: Nanos = seconds(5);

/// How a gateway stands to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It told of all of it.
    Covers,
    /// It reports, for less than the window: since then.
    Young(UnixNanos),
    /// It is overdue; its last report ended then.
    Silent(UnixNanos),
}

/// How all gateways stand to a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standings {
    window: Window,
    running: Slot,
    gateways: BTreeMap<GatewayName, Heard>,
}

/// What was heard of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    standing: Standing,
    /// Since when one of its VMs told all, among those that are not overdue; and the slots that the promptest of them is
    /// late for.
    since: UnixNanos,
    due: u32,
}

/// The last that was heard of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReport {
    /// Worker VMs that reported lately.
    pub vms: usize,
    /// End of the last span that one of them told of.
    pub until: UnixNanos,
}

/// Said of an object whose windows are the truth up to where they were told: what is not in them did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Slots at the end that reports are due for.
    pub(crate) due: u32,
}

/// Why nothing can be said about an object. Never shown as 0: an autoscaler must keep its size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no such object.
    #[error("there is no such object")]
    Missing,
    /// No route leads to it.
    #[error("no gateway routes to it")]
    NotRouted,
    /// Gateways route to it, and no policy selects it.
    #[error("no policy selects it at the gateways that route to it")]
    NotSelected,
    /// No gateway that would tell of it reports.
    #[error("no gateway that routes to it reports")]
    NoGateway,
    /// The gateways have not reported for as long as the window.
    #[error("the gateways that route to it have not reported for the whole window yet")]
    Young,
    /// A gateway stopped reporting within the window.
    #[error("{0}")]
    Stopped(Silence),
    /// Counts were left out for want of room.
    #[error("there are more objects than windows have room for")]
    Full,
}

/// A gateway that stopped reporting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway {0} stopped reporting within the window")]
pub struct Silence(pub GatewayName);

impl Standings {
    /// How each gateway that was heard of lately stands.
    pub fn iter(&self) -> impl Iterator<Item = (&GatewayName, Standing)> {
        self.gateways
            .iter()
            .map(|(name, heard)| (name, heard.standing))
    }

    /// Whether these gateways together told all there is about what they route to: one covers the window, and none
    /// stopped within it.
    ///
    /// # Errors
    /// [`Unknown`], why not.
    pub fn judge<'a>(
        &self,
        gateways: impl IntoIterator<Item = &'a GatewayName>,
    ) -> Result<Known, Unknown> {
        let begin = self.window.first(self.running).begin();
        let (mut due, mut since) = (0, None);
        let mut why = Unknown::NoGateway;
        for name in gateways {
            let Some(heard) = self.gateways.get(name) else {
                continue;
            };
            match heard.standing {
                Standing::Silent(until) if until >= begin => {
                    return Err(Unknown::Stopped(Silence(name.clone())));
                }
                Standing::Silent(_) => continue,
                Standing::Covers => since = Some(since.unwrap_or(heard.since).min(heard.since)),
                Standing::Young(_) => why = Unknown::Young,
            }
            due = heard.due.max(due);
        }
        let since = since.ok_or(why)?;
        // It may begin earlier, where reports are late.
        let shown = self.window.shown(self.running, due);
        if since > shown.start.begin() {
            return Err(Unknown::Young);
        }
        Ok(Known { due })
    }
}

/// What one VM told of.
#[derive(Clone, Debug)]
struct Stretch {
    gateway: GatewayName,
    /// Since when it told all, per window: a backlog tells of long windows only.
    since: [UnixNanos; Window::ALL.len()],
    until: UnixNanos,
    /// Length of its last report.
    pace: Nanos,
}

/// See the module's documentation. Bounded by the VMs that the totals admit.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    vms: HashMap<VmId, Stretch, RandomState>,
}

impl Stretch {
    fn is_overdue(&self, now: UnixNanos) -> bool {
        let patience = Nanos(self.pace.max(PACE).0.saturating_mul(2))
            .0
            .saturating_add(PACE.0);
        now.since(self.until).is_none_or(|age| age.0 > patience)
    }

    fn heard(&self, at: usize, begin: UnixNanos, now: UnixNanos) -> Heard {
        let since = self.since.get(at).copied().unwrap_or(now);
        let standing = if self.is_overdue(now) {
            Standing::Silent(self.until)
        } else if since <= begin {
            Standing::Covers
        } else {
            Standing::Young(since)
        };
        Heard {
            standing,
            since,
            due: self.due(Slot::of(now)),
        }
    }

    /// The slots, as many as all reports that are late span, before the one that runs.
    fn due(&self, running: Slot) -> u32 {
        let each = Slot::spanned(self.pace);
        let last = Slot::of(self.until);
        // Of a slot in which another report was to come, only a part was told.
        let in_part = running > last && Slot::of(self.until.plus(self.pace)) == last;
        let since = running.since(last) + u32::from(in_part);
        let late = since.saturating_sub(each);
        late.div_ceil(each).saturating_mul(each)
    }
}

impl Coverage {
    pub(super) fn note(
        &mut self,
        vm: VmId,
        gateway: &GatewayName,
        (from, to): (UnixNanos, UnixNanos),
        place: Result<Place, Unfit>,
        now: UnixNanos,
    ) {
        let to = to.min(now);
        let from = from.min(to);
        let fresh = || Stretch {
            gateway: gateway.clone(),
            since: [from; Window::ALL.len()],
            until: from,
            pace: PACE,
        };
        let stretch = self.vms.entry(vm).or_insert_with(fresh);
        // From the future: the clock went back.
        let follows = from <= stretch.until.plus(GAP) && stretch.until <= now;
        for (since, window) in stretch.since.iter_mut().zip(Window::ALL) {
            let told = place.is_ok_and(|place| place.fits() <= window);
            *since = match (told, follows) {
                (true, true) => *since,
                (true, false) => from,
                (false, _) => to,
            };
        }
        stretch.until = if follows { stretch.until.max(to) } else { to };
        stretch.pace = to.since(from).unwrap_or_default();
    }

    pub(super) fn standings(&self, window: Window, now: UnixNanos) -> Standings {
        let running = Slot::of(now);
        let begin = window.first(running).begin();
        let at = Window::ALL.iter().position(|w| *w == window).unwrap_or(0);
        let mut gateways: BTreeMap<GatewayName, Heard> = BTreeMap::new();
        for stretch in self.vms.values() {
            let heard = stretch.heard(at, begin, now);
            match gateways.get_mut(&stretch.gateway) {
                Some(best) => *best = best.or(heard),
                None => {
                    gateways.insert(stretch.gateway.clone(), heard);
                }
            }
        }
        Standings {
            window,
            running,
            gateways,
        }
    }

    pub(super) fn last_reports(&self) -> BTreeMap<GatewayName, LastReport> {
        let mut last: BTreeMap<GatewayName, LastReport> = BTreeMap::new();
        for stretch in self.vms.values() {
            let of = last.entry(stretch.gateway.clone()).or_default();
            of.vms += 1;
            of.until = of.until.max(stretch.until);
        }
        last
    }

    pub(super) fn forget(&mut self, now: UnixNanos) {
        let horizon = now.minus(COVERAGE_IDLE);
        self.vms.retain(|_, stretch| stretch.until >= horizon);
    }
}

impl Heard {
    /// Of two VMs of one gateway.
    fn or(self, other: Self) -> Self {
        let standing = better(self.standing, other.standing);
        let silent = |of: Self| matches!(of.standing, Standing::Silent(_));
        match (silent(self), silent(other)) {
            (true, false) => other,
            (false, true) => self,
            _ => Self {
                standing,
                since: self.since.min(other.since),
                due: self.due.min(other.due),
            },
        }
    }
}

/// The standing of two VMs of one gateway.
fn better(a: Standing, b: Standing) -> Standing {
    use Standing::{Covers, Silent, Young};
    match (a, b) {
        (Covers, _) | (_, Covers) => Covers,
        (Young(a), Young(b)) => Young(a.min(b)),
        (Young(since), Silent(_)) | (Silent(_), Young(since)) => Young(since),
        (Silent(a), Silent(b)) => Silent(a.max(b)),
    }
}
