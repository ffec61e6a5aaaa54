"""The main job, shown: a web app and its database on a cluster of real processes, through failures and back."""
