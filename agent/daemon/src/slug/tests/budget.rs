//! Measuring and deleting.

use super::*;

#[tokio::test]
async fn delete_takes_one_slug_and_forget_one_app() {
    let disk = disk();
    // `1` is the beginning of `10`, as app1's path would be of app10's.
    let (app1, app10) = (AppId(0x1), AppId(0x10));
    let a = disk.small(app1, "a").await;
    let b = disk.small(app1, "b").await;
    let same = disk.small(app10, "a").await;
    assert_eq!(a, same);
    disk.slugs.delete(app1, &a);
    assert!(!disk.archive(app1, &a).exists());
    assert!(!disk.slugs.places.tree(app1, &a).exists());
    assert!(
        disk.unpack(app1, &a).await.is_err(),
        "another app's slug was taken"
    );
    disk.unpack(app1, &b).await.unwrap();
    disk.unpack(app10, &same).await.unwrap();
    disk.slugs.forget(app1);
    assert!(!disk.slugs.places.archives(app1).exists());
    assert!(!disk.slugs.places.trees(app1).exists());
    disk.drop_tree(app10, &same);
    disk.unpack(app10, &same).await.unwrap();
    disk.slugs.delete(app1, &b);
    disk.slugs.forget(app1);
}

#[tokio::test]
async fn used_counts_archives_and_trees_and_each_file_once() {
    let disk = disk();
    let empty = disk.slugs.used();
    let tree = disk.tree("a");
    let noise: Vec<u8> = (0..1_000_000u64)
        .map(|i| (((i * i) ^ (i << 3)) >> 5) as u8)
        .collect();
    disk.write(&tree, "one", &noise, 0o644);
    for i in 0..5 {
        fs::hard_link(tree.join("one"), tree.join(format!("name{i}"))).unwrap();
    }
    let stored = disk.slugs.store(APP, tree).await.unwrap();
    let used = disk.slugs.used() - empty;
    let least = stored.size + 1_000_000;
    assert!(
        (least..least + 100_000).contains(&used),
        "{used}, expected about {least}"
    );
    disk.slugs.delete(APP, &stored.digest);
    assert!(disk.slugs.used() - empty < 10_000);
    assert!(disk.slugs.free() > 0);
}
