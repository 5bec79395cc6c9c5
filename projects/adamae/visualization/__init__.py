"""Pictures of what a masked autoencoder sees, predicts and looks at."""
