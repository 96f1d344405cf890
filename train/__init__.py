"""The PyTorch side: model, weights, data, features, fitting, evaluation, studies."""
