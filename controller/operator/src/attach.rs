//! What becomes of each policy where it is attached, and what is recorded there.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::{GatewayName, Layout};

use crate::{
    deploy::Deployment,
    policy::{Policy, PolicyId, Settings},
    resolve::Known,
    status::Attachment,
    target::Target,
};

/// All that decides what becomes of policies. Positions are positions in `policies`.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The checked policies, in any order.
    pub policies: &'a [Policy],
    /// What there is to attach to.
    pub known: &'a Known,
    /// Per gateway its policies, the strongest first: see [`crate::resolve`].
    pub attached: &'a BTreeMap<GatewayName, Vec<usize>>,
    /// Positions of policies whose bounds found no room: see [`crate::layouts`].
    pub refused: &'a BTreeSet<usize>,
    /// Per gateway and Service that it reaches, which of the gateway's policies select it: places in its list, rising.
    pub selections: &'a BTreeMap<GatewayName, Vec<Vec<usize>>>,
    /// Worker VMs that report, per gateway.
    pub workers: &'a BTreeMap<GatewayName, usize>,
    /// How each gateway came to its filter.
    pub deployments: &'a BTreeMap<GatewayName, Deployment>,
    /// Positions of policies that were refused a series lately, because they have as many as they may.
    pub full: &'a BTreeSet<usize>,
    /// Per gateway the places of policies, in its list, that decide a Service which Kong's operator scrapes.
    pub scraped: &'a BTreeMap<GatewayName, BTreeSet<usize>>,
}

/// What becomes of one policy, per target.
#[must_use]
pub fn attachments(scene: &Scene<'_>, at: usize) -> Vec<Attachment> {
    let targets = scene.policies.get(at).into_iter().flat_map(|p| &p.targets);
    targets
        .map(|target| attachment(scene, at, target))
        .collect()
}

fn attachment(scene: &Scene<'_>, at: usize, target: &Target) -> Attachment {
    let mut attachment = Attachment {
        target: target.clone(),
        found: scene.known.has(target),
        won: 0,
        lost: 0,
        older: None,
        settings_of: None,
        bounds_refused: scene.refused.contains(&at),
        series_refused: scene.full.contains(&at),
        kong_off: false,
        workers: 0,
        deployment: Deployment::Unmanaged,
    };
    let Some(gateway) = target.gateway().filter(|_| attachment.found) else {
        return attachment;
    };
    let order: &[usize] = scene.attached.get(&gateway).map_or(&[], Vec::as_slice);
    let policy = |place: usize| order.get(place).and_then(|at| scene.policies.get(*at));
    let Some(own) = order.iter().position(|other| *other == at) else {
        return attachment;
    };
    for places in scene.selections.get(&gateway).into_iter().flatten() {
        match places.first() {
            Some(first) if *first == own => attachment.won += 1,
            Some(first) if places.contains(&own) => {
                attachment.lost += 1;
                let older = policy(*first).map(|p| &p.id);
                // The same one whatever the order of Services.
                if attachment
                    .older
                    .as_ref()
                    .is_none_or(|held| older.is_some_and(|id| id < held))
                {
                    attachment.older = older.cloned();
                }
            }
            _ => {}
        }
    }
    let wants_kong = policy(own).is_some_and(|p| p.kong_compatible == Some(true));
    let scraped = scene.scraped.get(&gateway);
    attachment.kong_off = wants_kong && scraped.is_some_and(|places| places.contains(&own));
    attachment.settings_of = others_settings(policy(0), policy(own));
    attachment.workers = scene.workers.get(&gateway).copied().unwrap_or_default();
    let deployment = scene.deployments.get(&gateway);
    attachment.deployment = deployment.cloned().unwrap_or_default();
    attachment
}

fn others_settings(oldest: Option<&Policy>, own: Option<&Policy>) -> Option<PolicyId> {
    let (oldest, own) = (oldest?, own?);
    let of = |s: &Settings| (s.schema, s.report_interval, s.route, s.deploy);
    (of(&oldest.settings) != of(&own.settings)).then(|| oldest.id.clone())
}

/// What the filters of a gateway are told, where `oldest` is its oldest policy. Bounds are the same everywhere, so that
/// histograms can be summed without loss.
#[must_use]
pub fn told(
    default: &gaugeway_wire::Policy,
    oldest: Option<&Settings>,
    common: &Layout,
) -> gaugeway_wire::Policy {
    let none = Settings::default();
    let settings = oldest.unwrap_or(&none);
    gaugeway_wire::Policy {
        schema: settings.schema.unwrap_or(default.schema),
        classic_bounds: common.bounds.clone(),
        report_interval: settings.report_interval.unwrap_or(default.report_interval),
        route: oldest.map_or(default.route, |s| s.route),
        unknown_grace: default.unknown_grace,
    }
}
