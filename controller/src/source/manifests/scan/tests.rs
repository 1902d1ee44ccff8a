//! Tests of `scan`.
use std::collections::BTreeSet;

use tempfile::TempDir;

use super::*;

struct Rig {
    directory: TempDir,
    scanner: Scanner,
    /// What a listener holds.
    held: BTreeSet<String>,
}

fn pod(name: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n")
}

impl Rig {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let scanner = Scanner::new(directory.path().to_owned());
        Self {
            directory,
            scanner,
            held: BTreeSet::new(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.directory.path().join(name)).unwrap();
    }

    fn scan(&mut self) -> Scan {
        let scan = self.scanner.scan();
        for event in &scan.events {
            match event {
                Event::Apply(object) => {
                    self.held.insert(object.id().name);
                }
                Event::Delete(id) => {
                    assert!(self.held.remove(&id.name), "{id}");
                }
                other => panic!("{other:?}"),
            }
        }
        scan
    }

    fn held(&self) -> Vec<&str> {
        self.held.iter().map(String::as_str).collect()
    }
}

#[test]
fn files_come_change_and_go() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &format!("{}---\n{}", pod("a"), pod("b")));
    rig.write("deep/er/c.yml", &pod("c"));
    rig.write("notes.txt", "not a manifest");
    rig.write(".hidden.yaml", "garbage: [");
    let scan = rig.scan();
    assert_eq!(rig.held(), ["a", "b", "c"]);
    assert_eq!((scan.files.ok, scan.objects), (2, 3));
    assert!(scan.problems.is_empty());
    assert!(rig.scan().events.is_empty());

    rig.write("a.yaml", &pod("b"));
    rig.remove("deep/er/c.yml");
    assert_eq!(rig.scan().events.len(), 2);
    assert_eq!(rig.held(), ["b"]);
}

#[test]
fn a_bad_file_keeps_its_last_good_state() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &pod("a"));
    rig.write("b.yaml", "kind: Pod\n");
    let scan = rig.scan();
    let expected = FileCounts {
        ok: 1,
        stale: 0,
        bad: 1,
    };
    assert_eq!(scan.files, expected);
    assert!(scan.news);

    rig.write("a.yaml", &format!("{}---\n{}", pod("a2"), "metadata: ["));
    let scan = rig.scan();
    assert!(scan.events.is_empty());
    assert_eq!(rig.held(), ["a"]);
    assert_eq!((scan.files.stale, scan.files.bad), (1, 1));
    let told = &scan.problems[0];
    let path = rig.directory.path().join("a.yaml");
    assert!(told.starts_with(&format!("{}:", path.display())), "{told}");
    assert!(told.contains("(document 2)"), "{told}");
    assert!(
        told.ends_with("the file's last good state stays in force"),
        "{told}"
    );
    // Said once.
    assert!(!rig.scan().news);

    rig.write("a.yaml", &pod("a2"));
    rig.remove("b.yaml");
    let scan = rig.scan();
    assert!(scan.news && scan.problems.is_empty());
    assert_eq!(rig.held(), ["a2"]);
}

#[test]
fn a_directory_that_cannot_be_read_changes_nothing() {
    let mut rig = Rig::new();
    rig.write("a.yaml", &pod("a"));
    let _ = rig.scan();
    fs::remove_dir_all(rig.directory.path()).unwrap();
    let scan = rig.scan();
    assert_eq!(rig.held(), ["a"]);
    assert_eq!(scan.problems.len(), 1);
}

#[test]
fn a_file_that_is_not_text_is_bad() {
    let mut rig = Rig::new();
    let path = rig.directory.path().join("a.yaml");
    fs::write(path, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(rig.scan().files.bad, 1);
}

#[test]
fn of_two_definitions_the_last_files_counts() {
    let mut rig = Rig::new();
    let labelled = |value: &str| {
        let pod = pod("a");
        format!("{pod}  labels: {{v: {value}}}\n")
    };
    rig.write("1.yaml", &labelled("one"));
    rig.write("2.yaml", &labelled("two"));
    let scan = rig.scan();
    assert_eq!(scan.events.len(), 1);
    assert!(scan.problems[0].starts_with("Pod default/a is defined in "));
    let label = |scan: &Scan| match &scan.events[0] {
        Event::Apply(object) => object.metadata().labels.clone().unwrap()["v"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(label(&scan), "two");
    rig.remove("2.yaml");
    assert_eq!(label(&rig.scan()), "one");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_do_not_lead_in_circles() {
    let mut rig = Rig::new();
    rig.write("..data/a.yaml", &pod("a"));
    let root = rig.directory.path();
    std::os::unix::fs::symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    std::os::unix::fs::symlink(root, root.join("loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("broken.yaml")).unwrap();
    let scan = rig.scan();
    assert_eq!(rig.held(), ["a"]);
    assert_eq!((scan.files.ok, scan.problems), (1, vec![]));
}
