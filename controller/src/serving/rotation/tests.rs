//! Stories and laws of rotation.

use proptest::prelude::*;

use super::*;

const LIFE: Seconds = 90 * 86_400;

fn generation(number: u64, from: Seconds) -> Generation {
    Generation {
        authority: Authority {
            pem: format!("<{number}>"),
            until: from + LIFE,
        },
        certificate: String::new(),
        key: String::new(),
        names: names(),
        from,
    }
}

fn names() -> BTreeSet<String> {
    BTreeSet::from(["a".to_owned()])
}

fn step(held: &Held, now: Seconds, published: Option<&str>) -> Option<Held> {
    held.step(now, &names(), published, || Some(generation(now, now)))
}

#[test]
fn a_successor_is_made_published_shown_and_the_old_authority_kept_to_its_end() {
    let first = Held::first(generation(0, 0));
    let renew = LIFE / 3 * 2;
    assert_eq!(step(&first, renew - 1, None), None);
    let made = step(&first, renew, Some("<0>")).unwrap();
    assert_eq!(made.bundle(), format!("<0><{renew}>"));
    let later = renew + SETTLE;
    assert_eq!(
        step(&made, later, Some("<0>")),
        None,
        "nobody trusts it yet"
    );
    assert_eq!(
        step(&made, later - 1, Some(&made.bundle())),
        None,
        "it has not settled"
    );
    let shown = step(&made, later, Some(&made.bundle())).unwrap();
    assert_eq!(shown.current.from, renew);
    assert_eq!(shown.bundle(), made.bundle());
    assert_eq!(step(&shown, LIFE - 1, None), None);
    assert_eq!(
        step(&shown, LIFE, None).unwrap().bundle(),
        format!("<{renew}>")
    );
}

#[test]
fn what_has_ended_is_replaced_as_soon_as_its_successor_is_trusted() {
    let first = Held::first(generation(0, 0));
    let made = step(&first, LIFE * 2, None).unwrap();
    assert_eq!(step(&made, LIFE * 2, Some("<0>")), None);
    let shown = step(&made, LIFE * 2, Some(&made.bundle())).unwrap();
    assert_eq!(shown.current.from, LIFE * 2);
}

#[test]
fn other_names_need_another_certificate() {
    let first = Held::first(generation(0, 0));
    let other = BTreeSet::from(["b".to_owned()]);
    let made = first.step(1, &other, None, || Some(generation(1, 1)));
    assert!(made.unwrap().next.is_some());
}

/// What a replica is in the middle of.
#[derive(Clone, Debug, Default)]
struct Replica {
    /// What it shows; a replica that never read anything shows nothing.
    shows: Option<Generation>,
    /// Version and bundle of what is published, as it read them.
    published: Option<(u64, Option<String>)>,
    /// Version and content of the Secret, as it read or wrote them.
    read: Option<(u64, Held)>,
}

#[derive(Debug, Default)]
struct World {
    now: Seconds,
    made: u64,
    secret: (u64, Option<Held>),
    published: (u64, Option<String>),
    replicas: [Replica; 3],
}

impl World {
    /// One thing that a replica does; everything else may happen between two.
    fn act(&mut self, who: usize, what: u8) {
        let Self {
            now,
            made,
            secret,
            published,
            replicas,
        } = self;
        let (now, replica) = (*now, &mut replicas[who]);
        match what {
            // A new round: what was read of the Secret before does not count any more.
            0 => (replica.published, replica.read) = (Some(published.clone()), None),
            // What is published was read before, in the same round.
            1 if replica.published.is_some() => {
                if secret.1.is_none() {
                    *made += 1;
                    *secret = (secret.0 + 1, Some(Held::first(generation(*made, now))));
                }
                let held = secret.1.clone().unwrap();
                replica.shows = Some(held.current.clone());
                replica.read = Some((secret.0, held));
            }
            2 => {
                let Some((version, held)) = &replica.read else {
                    return;
                };
                let Some((_, bundle)) = &replica.published else {
                    return;
                };
                let make = || {
                    *made += 1;
                    Some(generation(*made, now))
                };
                let bundle = bundle.clone().unwrap_or_default();
                if let Some(new) = held.step(now, &names(), Some(&bundle), make) {
                    if *version == secret.0 {
                        *secret = (secret.0 + 1, Some(new.clone()));
                        replica.shows = Some(new.current.clone());
                        replica.read = Some((secret.0, new));
                    } else {
                        (replica.read, replica.published) = (None, None);
                    }
                }
            }
            3 => {
                let (Some((_, held)), Some((version, _))) =
                    (replica.read.take(), replica.published.take())
                else {
                    return;
                };
                if version == published.0 {
                    *published = (published.0 + 1, Some(held.bundle()));
                }
            }
            _ => {}
        }
    }

    fn check(&self) {
        let Some(bundle) = &self.published.1 else {
            return;
        };
        for shown in self
            .replicas
            .iter()
            .filter_map(|replica| replica.shows.as_ref())
        {
            let ended = shown.authority.until <= self.now;
            assert!(
                ended || bundle.contains(&shown.authority.pem),
                "{shown:?} in {bundle}"
            );
        }
    }
}

proptest! {
    /// Replicas read, write and publish in any order, are stopped in the middle for any time, and see old states.
    #[test]
    fn what_any_replica_shows_verifies_against_what_is_published(
        acts in prop::collection::vec((0..3_usize, 0..4_u8, prop_oneof![9 => 0..700_u64, 1 => 0..LIFE / 2]), 0..400)
    ) {
        let mut world = World::default();
        for (who, what, passes) in acts {
            world.act(who, what);
            world.check();
            world.now += passes;
            world.check();
        }
    }

    /// Left alone, with rounds that succeed, one certificate follows the other and none is shown to its end.
    #[test]
    fn certificates_follow_each_other_for_ever(pause in 1..86_400_u64) {
        let mut held = Held::first(generation(0, 0));
        let mut published = held.bundle();
        let mut now = 0;
        for _ in 0..1000 {
            now += pause;
            held = step(&held, now, Some(&published)).unwrap_or(held);
            published = held.bundle();
            prop_assert!(held.current.authority.until > now);
            prop_assert!(held.older.len() <= 1);
        }
    }
}
