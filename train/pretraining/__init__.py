"""A masked autoencoder of your own, from photographs."""
