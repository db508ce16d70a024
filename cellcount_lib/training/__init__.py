"""Training: recipes and profiles, the fastai Learner, checkpoints, and one call that runs it all.

Read in this order: `recipes` (how a network is trained) and `profiles` (at which scale), `spec`
(one training by name), `weightmap`, `crops`, `augment` and `loader` (from pictures to batches),
`data` (the pictures of a training), `learner` (the Learner, whole), `callbacks`, `checkpoint`,
`prepare` (all of this put together), `result` (cutoff, scores, files), `run` (from start to end);
`starting` (what a model brings to a training that starts from it).
"""
