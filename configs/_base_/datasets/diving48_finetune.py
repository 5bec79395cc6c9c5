# Diving48 as tools/data/prepare.py writes it, labeled; one frame from each of 16 equal
# segments, as a class is a whole dive; 2 x 3 test views. Its classes have no left and
# right (forward and back are told by the board), so that a mirrored dive stays one.
_base_ = 'finetune.py'

num_classes = 48
segments = dict(type='SegmentSampleFrames', clip_len=16)
videos = dict(video='data/diving48/videos')

train_pipeline = [_base_.init, segments, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.init, dict(segments, test_mode=True), *_base_.center_view]
test_segments = dict(segments, num_clips=2, test_mode=True)
test_pipeline = [_base_.init, test_segments, *_base_.three_views]

train_dataloader = dict(
    dataset=dict(
        ann_file='data/diving48/train.txt', data_prefix=videos, pipeline=train_pipeline
    )
)
held_out = dict(ann_file='data/diving48/val.txt', data_prefix=videos)
val_dataloader = dict(dataset=dict(held_out, pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(held_out, pipeline=test_pipeline))
