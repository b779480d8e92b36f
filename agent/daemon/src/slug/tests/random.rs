//! Any tree comes back.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Folder(BTreeMap<String, Node>, u32),
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[^/\0]{1,40}", "[a-z]{90,200}",]
        .prop_filter("a name", |n| n != "." && n != ".." && n.len() <= 255)
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        (proptest::collection::vec(any::<u8>(), 0..1500), 0u32..8)
            .prop_map(|(c, m)| Node::File(c, 0o600 | m)),
        "[^\0]{1,30}|[a-z./]{95,220}".prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        (
            proptest::collection::btree_map(name(), inner, 0..6),
            0u32..64,
        )
            .prop_map(|(c, m)| Node::Folder(c, 0o700 | m))
    })
}

fn build(node: &Node, path: &Path, backwards: bool) {
    match node {
        Node::File(content, mode) => {
            fs::write(path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Node::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Node::Folder(children, mode) => {
            fs::create_dir_all(path).unwrap();
            let mut all: Vec<_> = children.iter().collect();
            if backwards {
                all.reverse();
            }
            for (name, child) in all {
                build(child, &path.join(name), backwards);
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_trees_round_trip(children in proptest::collection::btree_map(name(), node(), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = disk();
            let root = Node::Folder(children, 0o755);
            let (one, two) = (disk.tree("one"), disk.tree("two"));
            build(&root, &one, false);
            build(&root, &two, true);
            let before = look(&one);
            let stored = disk.slugs.store(APP, one).await.unwrap();
            assert_eq!(stored, disk.slugs.store(APP, two).await.unwrap());
            disk.drop_tree(APP, &stored.digest);
            let tree = disk.unpack(APP, &stored.digest).await.unwrap();
            assert_eq!(look(&tree), before);
            disk.assert_clean().await;
        });
    }
}
