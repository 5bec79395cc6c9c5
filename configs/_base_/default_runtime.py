default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='DeferredInfoHook'),  # waits for the GPU at logs only
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', interval=20, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'),
    onednn=dict(type='OneDNNHook', enabled=True),  # on AMD CPUs from Zen 5 on
    # A run stops when more videos are bad; None: 1%, of short lists up to 10 videos.
    unreadable_videos=dict(type='UnreadableVideosHook', max_share=None),
    # Curves and pictures of pre-training (docs/training.md, "Is the run healthy?").
    health_curves=dict(type='HealthCurvesHook', interval=50),  # iterations
    # Epochs; None: ten times a run, never in one of less than 5000 iterations.
    feature_health=dict(type='FeatureHealthHook', interval=None),
    visualization=dict(type='PretrainVisualizationHook', interval=None),
)
custom_hooks = [
    dict(type='CheckpointCheckHook'),
    dict(type='FiniteCheckHook'),  # stops a run, and leaves a report
    dict(type='HealthCheckHook'),  # warns
    dict(type='GradientBucketsHook'),
    dict(type='RandomStateHook'),
    dict(type='StopOnSignalHook'),  # SIGTERM, SIGUSR1, SIGHUP, Ctrl-C
    dict(type='CompileHook'),  # does nothing unless `compile` is set
]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# Gradients are exchanged where they lie, not in a copy (4 bytes per parameter).
model_wrapper_cfg = dict(
    type='MMDistributedDataParallel',
    broadcast_buffers=False,
    gradient_as_bucket_view=True,
)
# Every rank draws its own masks and crops; the order of the data is still shared.
randomness = dict(seed=0, diff_rank_seed=True)

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='ActionVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
# Off. True, or arguments of torch.compile (mode='max-autotune-no-cudagraphs'), is on.
compile = dict(disable=True)
