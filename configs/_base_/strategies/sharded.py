# Weights, gradients and optimizer state spread over the GPUs (FSDP): a second base.
runner_type = 'FlexibleRunner'
strategy = dict(type='ShardedStrategy')
