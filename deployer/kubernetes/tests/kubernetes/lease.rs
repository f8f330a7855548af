//! Who acts among several.

use std::sync::Arc;

use kubernetes::Lease;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kit::{client, cluster, run};
use crate::kubelet::within;

#[test]
fn one_at_a_time_acts_and_the_next_takes_over() {
    run(async {
        let kubeconfig = &cluster().await.kubeconfig;
        let acting = Arc::new(watch::Sender::new(Vec::<&str>::new()));
        let mut stops = Vec::new();
        for name in ["first", "second"] {
            let lease = Lease::new(client(kubeconfig).await, "astrocloud", "test", name);
            let (stop, acting) = (CancellationToken::new(), acting.clone());
            stops.push((name, stop.clone()));
            tokio::spawn(async move {
                let act = || {
                    acting.send_modify(|acting| acting.push(name));
                    std::future::pending::<()>()
                };
                lease.run(&stop, act).await;
            });
        }
        let mut seen = acting.subscribe();
        let first = within("a holder", seen.wait_for(|acting| !acting.is_empty())).await.unwrap()[0];
        let (holder, other): (Vec<_>, Vec<_>) = stops.into_iter().partition(|(name, _)| *name == first);
        assert_eq!(acting.borrow().len(), 1, "one acts");
        holder[0].1.cancel();
        let all = within("the next", seen.wait_for(|acting| acting.len() == 2)).await.unwrap().clone();
        assert_eq!(all[1], other[0].0);
        other[0].1.cancel();
    });
}
