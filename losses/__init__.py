"""What training minimises: `losses.total.TotalLoss` sums the terms that a config lists (`configs.schema.LossTerm`)."""
