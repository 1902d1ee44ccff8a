//! Definitions: fingerprints get their names.

use gaugeway_wire::{DecodeError, Fingerprint, GatewayName, Target, TargetDefinition, UnixNanos};

use super::{
    Aggregate,
    apply::{Judge, Live, Recorded},
};
use crate::{
    gateway::{Entry, Named, Unnamed},
    host::Reach,
    labels,
    limits::TARGETS_PER_GATEWAY,
    makers::{Births, Makers},
    totals::{Increase, Moment, Placed},
};

/// What a definition did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defined {
    /// False for one that was known: nothing changed.
    pub fresh: bool,
    /// Whether the gateway may report for the target; if not, the counts that waited for it were dropped.
    pub allowed: bool,
    /// Requests that had waited for this name.
    pub requests: u64,
    /// Requests of those that went to the overflow series because a bound was reached.
    pub overflow_requests: u64,
    /// The same because of the bound of a policy.
    pub refused_requests: u64,
    /// What became of series that were not there. Positions are those of the routes that waited.
    pub births: Births,
}

/// Why a definition was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    /// Not a target, or not the one of that fingerprint.
    #[error("not a target of that fingerprint: {0}")]
    Undecodable(#[from] DecodeError),
    /// Labels that this gateway cannot define.
    #[error("labels that this gateway cannot define")]
    Labels,
    /// Too many targets or gateways.
    #[error("too many targets are defined")]
    TooMany,
    /// The index has not synced.
    #[error("the source has not synced")]
    NotSynced,
}

impl Aggregate {
    /// Names a fingerprint for a gateway, and counts what waited for the name.
    ///
    /// # Errors
    /// [`DefineError`].
    pub fn define(
        &mut self,
        gateway: &GatewayName,
        definition: &TargetDefinition<'_>,
        reach: &dyn Reach,
        now: UnixNanos,
    ) -> Result<Defined, DefineError> {
        if self.is_named(gateway, definition.fingerprint) {
            return Ok(Defined::default());
        }
        let generation = reach.generation().ok_or(DefineError::NotSynced)?;
        let target = definition.resolve()?;
        if !labels::is_definable(gateway, &target) {
            return Err(DefineError::Labels);
        }
        if !self.has_room_for(gateway) || self.targets(gateway) >= TARGETS_PER_GATEWAY {
            return Err(DefineError::TooMany);
        }
        let mut named = Named::new(target, now);
        let judge = Live {
            reach,
            generation,
            now,
        };
        let allowed = judge.allows(gateway, definition.fingerprint, &mut named);
        Ok(self.name(gateway, definition.fingerprint, named, allowed, &judge, now))
    }

    /// Names a target as it was named before.
    pub fn replay_definition(
        &mut self,
        gateway: &GatewayName,
        target: Target,
        allowed: bool,
        births: &Births,
        now: UnixNanos,
    ) -> Defined {
        let fingerprint = target.fingerprint();
        let named = Named::new(target, now);
        // What it may report for was decided.
        let judge = Recorded {
            rejected: &[],
            births,
        };
        self.name(gateway, fingerprint, named, allowed, &judge, now)
    }

    pub(super) fn is_named(&self, gateway: &GatewayName, fingerprint: Fingerprint) -> bool {
        let entry = self
            .gateways
            .get(gateway)
            .and_then(|table| table.entries.get(&fingerprint));
        matches!(entry, Some(Entry::Named(_)))
    }

    fn targets(&self, gateway: &GatewayName) -> usize {
        let table = self.gateways.get(gateway);
        table.map_or(0, |table| table.entries.len())
    }

    fn name(
        &mut self,
        gateway: &GatewayName,
        fingerprint: Fingerprint,
        mut named: Named,
        allowed: bool,
        judge: &impl Judge,
        now: UnixNanos,
    ) -> Defined {
        let table = self.gateways.entry(gateway.clone()).or_default();
        table.used = now;
        let waiting = match table.entries.remove(&fingerprint) {
            Some(Entry::Unnamed(waiting)) => waiting,
            Some(Entry::Named(_)) | None => Unnamed::new(now),
        };
        table.unnamed = table.unnamed.saturating_sub(waiting.routes.len());
        let mut defined = Defined {
            fresh: true,
            allowed,
            requests: waiting.requests(),
            ..Defined::default()
        };
        if allowed && !waiting.routes.is_empty() {
            named.taken = now;
            self.change = self.change.next();
            let at = Moment {
                config: &self.config,
                change: self.change,
                now,
            };
            for (place, (route, counts)) in (0..).zip(&waiting.routes) {
                let increase = Increase::Kept(counts);
                let births = &mut defined.births;
                let birth = |target: &Target, makers: &mut Makers| {
                    let birth = judge.birth(gateway, place, target, makers);
                    births.note(place, &birth);
                    birth
                };
                let totals = &mut self.totals;
                let placed = totals.add(at, gateway, &mut named, route, increase, birth);
                let elsewhere = match placed {
                    Placed::Own => continue,
                    Placed::Overflow => &mut defined.overflow_requests,
                    Placed::Refused => &mut defined.refused_requests,
                };
                *elsewhere = elsewhere.saturating_add(counts.requests_total());
            }
        }
        table.entries.insert(fingerprint, Entry::Named(named));
        defined
    }
}
