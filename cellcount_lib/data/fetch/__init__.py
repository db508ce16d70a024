"""What a download is made of: transfer, resume, safe extraction, the finished folder."""
