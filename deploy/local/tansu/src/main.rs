//! The broker's own command line, as its authors start it.

use tansu_cli::Cli;
// Named for their features only.
use {tansu_broker as _, tansu_storage as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Cli::main().await?;
    Ok(())
}
