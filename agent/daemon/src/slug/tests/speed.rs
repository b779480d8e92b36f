//! How fast; run with `--ignored --nocapture` in an optimised build.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn of_a_flask_app() {
    let mut disk = disk();
    // With the pause of the real thing: a sync while measuring would be measured too.
    disk.slugs = Slugs::open(disk.dir.path().to_owned()).unwrap();
    for round in 0..5 {
        let tree = disk.tree("flask");
        let mut x = 1u64 + round;
        for i in 0..1500 {
            let mut text = String::new();
            while text.len() < 20_000 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text += &format!(
                    "def name_{}(self, value):\n    return self.x[{}]\n",
                    x >> 50,
                    x >> 40
                );
            }
            disk.write(
                &tree,
                &format!("lib/p{}/m{i}.py", i % 60),
                text.as_bytes(),
                0o644,
            );
        }
        let bytes = measure::content(&tree) as f64 / 1e6;
        let begun = Instant::now();
        let stored = disk.slugs.store(APP, tree).await.unwrap();
        let pack = begun.elapsed();
        disk.drop_tree(APP, &stored.digest);
        let begun = Instant::now();
        disk.unpack(APP, &stored.digest).await.unwrap();
        let unpack = begun.elapsed();
        let speed = |t: Duration| bytes / t.as_secs_f64();
        println!(
            "{bytes:.1} MB to {}: store {} ms, {:.0} MB/s; unpack {} ms, {:.0} MB/s",
            fault::megabytes(stored.size),
            pack.as_millis(),
            speed(pack),
            unpack.as_millis(),
            speed(unpack)
        );
    }
}
